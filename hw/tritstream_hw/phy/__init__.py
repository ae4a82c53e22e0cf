"""Between a board's pins and bytes."""
