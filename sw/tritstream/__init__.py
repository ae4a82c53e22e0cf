"""Host side of tritstream: configuration, golden model, image packing, driver, command line."""
