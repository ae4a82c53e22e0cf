"""SDR SDRAM: what a chip needs, and the controller that streams from it."""
