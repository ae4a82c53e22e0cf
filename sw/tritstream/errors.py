"""Errors that a user can cause or must act on: one sentence each, with the exit code it ends in."""

__all__ = [
    "INTERRUPTED",
    "BadInput",
    "DeviceBusy",
    "DeviceError",
    "FitError",
    "MissingTool",
    "Mismatch",
    "ToolFailed",
    "TritstreamError",
    "TritstreamWarning",
]

INTERRUPTED = 130
"""Exit code behind Ctrl-C, as a shell reports it."""


class TritstreamError(Exception):
    """Base of all errors whose message is the whole story.

    The message is one sentence: what, where (file, tensor, layer, port), the number that failed,
    and what to do next. The command line prints it and exits with `exit_code`; a traceback
    appears only with ``--debug``.
    """

    exit_code = 2


class Mismatch(TritstreamError):
    """Two devices that have to agree do not."""

    exit_code = 1


class BadInput(TritstreamError, ValueError):
    """A file, an option, an argument or a text that cannot be used."""

    exit_code = 2


class MissingTool(TritstreamError):
    """A program or library that is needed is not installed."""

    exit_code = 3


class ToolFailed(TritstreamError):
    """A program that is installed fails, or does not end, and what it was given is not why."""

    exit_code = MissingTool.exit_code       # what is installed does not do


class DeviceError(TritstreamError, OSError):
    """The device is absent, went away, or answered what it must not."""

    exit_code = 4


class DeviceBusy(DeviceError):
    """The device is in the middle of a run, of a call from another thread, or serves another."""


class FitError(TritstreamError):
    """A design that does not fit the part, or does not meet timing."""

    exit_code = 5


class TritstreamWarning(UserWarning):
    """Something is taken as it is, and probably not what the user meant: one sentence."""
