"""Readers of the tape: headers, embedding rows, gains."""
