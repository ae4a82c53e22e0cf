"""Training and GPU side of tritstream: the model in PyTorch, its fused kernels, and the trainer."""
