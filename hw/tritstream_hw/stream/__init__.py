"""Primitives of streams and pipelines."""
