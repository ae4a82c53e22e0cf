"""Checkpoints, tensors and tokenizers: what a model is before it is packed."""
