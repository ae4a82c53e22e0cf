"""Multipliers and serial arithmetic."""
