"""Models by the names that a user gives them, and those that come with the program."""

from tritstream.models.model import DEFAULT_MODEL, Model, bundled_models, resolve

__all__ = ["DEFAULT_MODEL", "Model", "bundled_models", "resolve"]
