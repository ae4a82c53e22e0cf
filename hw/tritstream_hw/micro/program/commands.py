"""Commands of the host, one after the other; and where the program begins."""

from tritstream.formats import FORMATS
from tritstream.link.messages import Counters
from tritstream.link.protocol import Code, Space, Status
from tritstream_hw.micro.language import (
    Table,
    append8,
    append32,
    below,
    crc,
    next8,
    next16,
    next32,
)
from tritstream_hw.micro.program import link, run, vectors
from tritstream_hw.micro.program.layout import (
    COUNTERS,
    MAX_STAGES,
    MAX_STATE,
    RECORD_BYTES,
    RECORDS,
    STATE,
    UNIT_BYTES,
    VECTOR_WORDS,
    VECTORS,
)

IDENTITY = Table([0] * 24)      # the build has its own
IDENTITY_BYTES = 47
STATE_SPARE = 32 - FORMATS.state_bits

# Of READ, STORE, KEEP and RECALL.
space = 0
place = 0           # where the first word is
words = 0


def main():
    """Carry out commands; a RESET begins here again."""
    if link.resets:
        link.resets = 0
        vectors.digest = 0
        run.forget()
    while True:
        command()


def command():
    """Carry out the next command."""
    code = link.get()
    if code == Code.RUN:
        run.command()
    elif code == Code.WRITE:
        write()
    elif code == Code.DIGEST:
        digest()
    elif code == Code.READ:
        read()
    elif code == Code.STORE:
        store()
    elif code == Code.KEEP:
        keep()
    elif code == Code.RECALL:
        recall()
    elif code == Code.IDENTIFY:
        identify()
    elif code == Code.CONFIGURE:
        reply(Code.CONFIGURE, run.configure())
    else:
        link.put(Code.UNKNOWN)
        while True:                     # until the host starts anew
            link.get()


def reply(code, status):
    """Put the beginning of a reply."""
    link.put(code)
    link.put(status)


def identify():
    """Tell what this is."""
    vectors.digest = 0
    link.put(Code.IDENTIFY)
    at = IDENTITY
    left = IDENTITY_BYTES
    while left > 1:
        link.put_half(next16(at))
        left -= 2
    if left:
        link.put(next16(at) & 255)


def write():
    """Write units to the memory."""
    unit = link.get_word()
    units = link.get_word()
    outside = run.outside(unit, units)
    to = unit << 6
    while units:
        count = UNIT_BYTES
        while count:
            byte = link.get()
            if not outside:
                append8(to, byte)
            count -= 1
        units -= 1
    status = Status.OK
    if outside:
        status = Status.OUT_OF_RANGE
    reply(Code.WRITE, status)


def digest():
    """Tell the CRC-32 of units of the memory."""
    unit = link.get_word()
    units = link.get_word()
    value = 0
    status = Status.OUT_OF_RANGE
    if not run.outside(unit, units):
        status = Status.OK
        at = unit << 6
        while units:
            end = at + UNIT_BYTES
            while at != end:
                value = crc(value, next8(at))
            link.poll()
            units -= 1
    reply(Code.DIGEST, status)
    link.put_word(value)


def access():
    """Take the arguments of READ, and the last ones of KEEP; return a status."""
    global space, place, words
    space = link.get()
    address = link.get_word()
    words = link.get_word()
    if space == Space.VECTORS:
        place = VECTORS
        size = VECTOR_WORDS
    elif space == Space.STATE:
        place = STATE
        size = MAX_STATE
    elif space == Space.RECORDS:
        place = RECORDS
        size = RECORD_BYTES // 4 * MAX_STAGES
    elif space == Space.COUNTERS:
        place = COUNTERS
        size = Counters.SIZE // 4
        count()
    else:
        return Status.UNKNOWN_SPACE
    place += address << 2
    if below(size, address) or below(size - address, words):
        return Status.OUT_OF_RANGE
    return Status.OK


def count():
    """Put the counters where they are read."""
    to = COUNTERS
    append32(to, link.good)
    append32(to, link.bad)
    append32(to, link.out_of_order)
    append32(to, link.resent)
    append32(to, run.beats)
    append32(to, run.beats_upper)


def read():
    """Tell words of a space."""
    status = access()
    reply(Code.READ, status)
    if status == Status.OK:
        while words:
            read_one()


def read_one():
    """Tell the next word."""
    global words, place
    link.put_word(next32(place))
    words -= 1


def store():
    """Write words of a space."""
    status = written()
    while words:
        store_one(link.get_word(), status == Status.OK)
    reply(Code.STORE, status)


def written():
    """Take the arguments of STORE, and the last ones of RECALL; return a status."""
    status = access()
    if space != Space.VECTORS and space != Space.STATE:
        status = Status.UNKNOWN_SPACE
    return status


def store_one(number, wanted):
    """Write the next word, if that is wanted."""
    global words, place
    if space == Space.STATE:
        number = (number << STATE_SPARE) >> STATE_SPARE
    if wanted:
        append32(place, number)
    words -= 1


def keep():
    """Copy words of a space to units of the memory, which zeros fill up."""
    global words
    unit = link.get_word()
    units = link.get_word()
    status = within(access(), unit, units)
    if status == Status.OK:
        to = unit << 6
        while units:
            end = to + UNIT_BYTES
            while to != end:
                number = 0
                if words:
                    number = next32(place)
                    words -= 1
                append32(to, number)
            link.poll()
            units -= 1
    reply(Code.KEEP, status)


def recall():
    """Copy words of a space from units of the memory."""
    unit = link.get_word()
    units = link.get_word()
    status = within(written(), unit, units)
    if status == Status.OK:
        at = unit << 6
        while units:
            end = at + UNIT_BYTES
            while at != end:
                number = next32(at)
                if words:
                    store_one(number, 1)
            link.poll()
            units -= 1
    reply(Code.RECALL, status)


def within(status, unit, units):
    """Return a status, or that of units that are not in the memory."""
    if status == Status.OK and run.outside(unit, units):
        return Status.OUT_OF_RANGE
    return status
