"""`python -m tritstream`: the command line."""

from tritstream.cli import main

__all__ = []

main()
