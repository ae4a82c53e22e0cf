"""The memory port, and what plays a pass from it."""
