"""Measurements of models and devices."""
