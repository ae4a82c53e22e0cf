"""The packed model: trit bytes, the tape, the file; see `docs/image.md`."""
