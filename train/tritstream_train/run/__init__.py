"""A training run: loop, processes, checkpoints, curve."""
