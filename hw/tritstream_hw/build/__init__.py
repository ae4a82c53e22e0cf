"""From a target to a bitstream, its reports and its costs."""
