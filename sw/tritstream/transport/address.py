"""Addresses of devices: ``SCHEME[:REST][?KEY=VALUE[&KEY=VALUE]...]``."""

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping

from tritstream.errors import BadInput
from tritstream.support.checks import closest
from tritstream.support.manifest import read_build_id

__all__ = ["Address", "decimal_number", "whole_number"]

_DIGITS = re.compile("[0-9]{1,19}")
_DECIMAL = re.compile("[0-9]{1,12}([.][0-9]{1,12})?")
_DRIVER_OPTIONS = ("build",)        # of any transport: what the driver asks of the device behind it


@dataclasses.dataclass(frozen=True)
class Address:
    """What a user calls a device, taken apart.

    Parameters
    ----------
    text : str
        The whole, for messages.
    scheme : str
        Which transport.
    rest : str or None
        What is between the colon and the question mark; None: there is no colon.
    options : mapping
        Values by key, ``%XX`` decoded.
    """

    text: str
    scheme: str
    rest: str | None
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Take `text` apart; raise `BadInput` for options that are empty or doubled."""
        place, question, query = text.partition("?")
        scheme, colon, rest = place.partition(":")
        options = {}
        for part in query.split("&") if question else ():
            key, equals, value = part.partition("=")
            if not (key and equals and value):
                raise BadInput(f"{text!r} has the option {part!r}: write KEY=VALUE behind '?', "
                               "with '&' before the next.")
            if key in options:
                raise BadInput(f"{text!r} has the option {key!r} twice: give it once.")
            options[key] = urllib.parse.unquote(value)
        return cls(text, scheme, rest if colon else None, options)

    @property
    def build(self) -> bytes | None:
        """Identity of the only build that is accepted there; None: any.

        The option ``build`` names the directory that `tritstream build` wrote.
        """
        return read_build_id(self.options["build"]) if "build" in self.options else None

    def check_options(self, *known: str) -> None:
        """Raise `BadInput` for an option that is neither the driver's nor one of `known`."""
        names = sorted({*known, *_DRIVER_OPTIONS})
        for key in self.options:
            if key not in names:
                raise BadInput(f"{self.text!r} has the unknown option {key!r}: the closest is "
                               f"{closest(key, names)}, and {self.scheme} has {', '.join(names)}.")

    def number(self, key: str, default: int, low: int, high: int) -> int:
        """Return the option `key`, which must be a whole number of `low` to `high`."""
        text = self.options.get(key, str(default))
        number = whole_number(text, low, high)
        if number is None:
            raise BadInput(f"{self.text!r} has {key}={text[:20]}: it must be a whole number of "
                           f"{low} to {high}.")
        return number


def decimal_number(text: str, high: float) -> float | None:
    """Return the number, such as ``25.6``, that `text` is, None unless above 0 and up to `high`."""
    if not _DECIMAL.fullmatch(text) or not 0 < float(text) <= high:
        return None
    return float(text)


def whole_number(text: str, low: int, high: int) -> int | None:
    """Return the number that `text` is, None unless it is one of `low` to `high`."""
    if not _DIGITS.fullmatch(text) or not low <= int(text) <= high:
        return None
    return int(text)
