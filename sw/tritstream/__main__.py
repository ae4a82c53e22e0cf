"""`python -m tritstream`: the command line."""

from tritstream.cli.app import main

__all__ = []

main()
