"""The tape of a pass: lead, row and rest, from the memory or from the host, part by part."""

from tritstream_hw.micro.language import append8
from tritstream_hw.micro.program import link
from tritstream_hw.micro.program.layout import UNIT_BYTES

streamed = 0
at = 0              # in the memory
left = 0            # units of the tape that have not been taken; the row is not counted
row_at = 0
row_left = 0        # units of the row
waited = 0          # cycles in which the host's bytes were waited for


def take(units, buffer):
    """Return the address of the next units of the tape; those that are streamed go to `buffer`."""
    global at, left
    left -= units
    if streamed:
        fetch(buffer, units)
        return buffer
    place = at
    at += units << 6
    return place


def take_row(buffer):
    """Return the address of the row."""
    global row_left
    if streamed:
        fetch(buffer, row_left)
        row_left = 0
        return buffer
    row_left = 0
    return row_at


def fetch(place, units):
    """Put units of the host's stream to an address."""
    global waited
    since = link.clock()
    end = place + units * UNIT_BYTES
    while place != end:
        append8(place, link.get())
    waited += link.clock() - since


def drop():
    """Take the rest of a streamed pass, and forget it."""
    units = left + row_left
    if streamed:
        while units:
            count = UNIT_BYTES
            while count:
                link.get()
                count -= 1
            units -= 1
