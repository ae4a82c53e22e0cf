"""What a board starts with: a model in its flash memory."""
