"""The model in PyTorch: layers, loading, export."""
