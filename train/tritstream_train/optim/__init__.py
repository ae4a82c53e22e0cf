"""Optimisers, freezing, settling."""
