"""Frames in both directions: `docs/link.md`, and `tritstream.link.endpoint` as a program.

`get` and `put` are bytes of the streams. Whoever computes for long calls `poll` in between.
"""

from tritstream.link.protocol import MAX_PAYLOAD, SYNC, Kind
from tritstream_hw.micro.isa import RECEIVED_BYTES, Place, Region
from tritstream_hw.micro.language import (
    below,
    crc,
    next8,
    read8,
    read16,
    read32,
    restart,
    unsigned_right,
    write8,
    write16,
)
from tritstream_hw.micro.program.layout import (
    FIFO,
    FIFO_BYTES,
    FRAME_BYTES,
    FRAMES,
    LENGTHS,
    WINDOW,
)

RING = Region.RECEIVED.base
RING_MASK = RECEIVED_BYTES - 1
HEADER_BYTES = 7
CRC_BYTES = 4
ROOM = FIFO_BYTES // MAX_PAYLOAD
PAYLOAD_PLACES = MAX_PAYLOAD.bit_length() - 1
FRAME_PLACES = FRAME_BYTES.bit_length() - 1
ACK_CYCLES = 20_000             # the build has its own of both
RETRY_CYCLES = 3_000_000

# From the host. `seen` is where in the ring a frame begins, or may begin.
seen = 0
in_frame = 0
had = 0             # bytes of the frame when they were counted last
byte_at = 0         # when that changed
expected = 0        # number of the next frame
fifo_in = 0         # bytes that have been put into the fifo, and taken out
fifo_out = 0
advertised = 0      # `expected` and room in the latest frame that was sent
ack_owed = 0
ack_from = 0
nak_owed = 0
nak_quiet = 0       # whether one has been sent that nothing has answered, and when
nak_from = 0

# To the host.
connected = 0
base = 0            # number of the oldest frame that is kept
kept = 0            # how many are
cursor = 0          # how many of these have been sent
filled = 0          # bytes of the frame behind them
credit = 0
probing = 0         # one frame may go without credit
retry_from = 0
value = 0           # CRC of the frame that goes

# What Counters tell.
good = 0
bad = 0
out_of_order = 0
resent = 0

# Called at the end of a RESET, by what has been forgotten.
resets = 0


def clock():
    """Cycles."""
    return read32(Place.CLOCK)


def get():
    """Return the next byte of the host's stream, however long it takes."""
    global fifo_out
    if fifo_in == fifo_out:
        flush()
        while fifo_in == fifo_out:
            poll()
    byte = read8(FIFO | (fifo_out & (FIFO_BYTES - 1)))
    fifo_out += 1
    return byte


def put(byte):
    """Append a byte to the stream to the host."""
    global filled
    while kept == WINDOW:
        poll()
    write8((FRAMES + (((base + kept) & (WINDOW - 1)) << FRAME_PLACES)) + filled, byte)
    filled += 1
    if filled == FRAME_BYTES:
        flush()


def flush():
    """Let what has been put go."""
    global kept, filled
    if filled:
        write16(LENGTHS + (((base + kept) & (WINDOW - 1)) << 1), filled)
        kept += 1
        filled = 0
    poll()


def poll():
    """Take what has come, and send what is due."""
    receive()
    if connected:
        transmit()


def room():
    """Frames that there is room for."""
    return unsigned_right(FIFO_BYTES - (fifo_in - fifo_out), PAYLOAD_PLACES)


# Receiving.

def receive():
    """Take one frame, if it is there."""
    global seen, in_frame, had, byte_at
    arrived = read16(Place.RECEIVED)
    while not in_frame:
        if seen == arrived:
            return
        if read8(RING + seen) == SYNC:
            in_frame = 1
            had = 0
        else:
            seen = (seen + 1) & RING_MASK
    have = (arrived - seen) & RING_MASK
    if have != had:
        had = have
        byte_at = clock()
    elif not below(clock() - byte_at, RETRY_CYCLES):
        drop(have)
        return
    if have < HEADER_BYTES:
        return
    at = RING + seen
    length = read8(at + 5) | read8(at + 6) << 8
    kind = read8(at + 1)
    if kind == Kind.DATA:
        possible = length != 0 and length <= MAX_PAYLOAD
    else:
        possible = kind <= Kind.RESET_ACK and length == 0
    if not possible:
        drop(HEADER_BYTES)
        return
    size = HEADER_BYTES + length + CRC_BYTES
    if have < size:
        return
    accept(at, kind, length)


def drop(size):
    """Give up a frame that something is wrong with, and so many bytes."""
    global bad
    bad += 1
    skip(size)
    request_repeat()


def skip(size):
    """Leave so many bytes behind."""
    global seen, in_frame
    seen = (seen + size) & RING_MASK
    in_frame = 0


def request_repeat():
    """Let a NAK go, unless one has gone lately."""
    global nak_owed, nak_quiet, nak_from
    if not connected:
        return
    now = clock()
    if nak_quiet and below(now - nak_from, RETRY_CYCLES):
        return
    nak_owed = 1
    nak_quiet = 1
    nak_from = now


def accept(at, kind, length):
    """Take a whole frame, if its CRC is right."""
    global good, fifo_in
    seq = read8(at + 2)
    ack = read8(at + 3)
    new_credit = read8(at + 4)
    wanted = connected and kind == Kind.DATA and seq == (expected & 255) and (
        length <= FIFO_BYTES - (fifo_in - fifo_out))
    remainder = 0
    at += 1
    end = at + (HEADER_BYTES - 1)
    while at != end:
        remainder = crc(remainder, next8(at))
    end = at + length
    place = fifo_in & (FIFO_BYTES - 1)
    while at != end:
        byte = next8(at)
        remainder = crc(remainder, byte)
        if wanted:                      # it is not in the fifo before that is said
            write8(FIFO + place, byte)
            place = (place + 1) & (FIFO_BYTES - 1)
    end = at + CRC_BYTES
    while at != end:
        if next8(at) != (remainder & 255):
            drop(HEADER_BYTES + length + CRC_BYTES)
            return
        remainder = unsigned_right(remainder, 8)
    skip(HEADER_BYTES + length + CRC_BYTES)
    good += 1
    if kind == Kind.RESET:
        begin(seq, new_credit)
    if not connected or kind == Kind.RESET_ACK:
        return
    acknowledged(ack, new_credit)
    if kind == Kind.NAK:
        go_back()
    if kind == Kind.DATA:
        take(seq, wanted, length)


def take(seq, wanted, length):
    """Count a frame of data."""
    global expected, fifo_in, ack_owed, ack_from, nak_quiet, out_of_order
    distance = (seq - expected) & 255
    if distance != 0 and distance < 128:
        out_of_order += 1
        request_repeat()
        return
    if wanted:
        expected += 1
        fifo_in += length
        nak_quiet = 0
    if not ack_owed:
        ack_owed = 1
        ack_from = clock()


def begin(nonce, new_credit):
    """Start anew, as a RESET wants."""
    global connected, expected, fifo_in, fifo_out, ack_owed, nak_owed, nak_quiet, resets
    global base, kept, cursor, filled, credit, probing
    expected = 0
    fifo_in = 0
    fifo_out = 0
    ack_owed = 0
    nak_owed = 0
    nak_quiet = 0
    base = 0
    kept = 0
    cursor = 0
    filled = 0
    probing = 0
    credit = new_credit
    connected = 1
    resets += 1
    send_frame(Kind.RESET_ACK, nonce, 0, 0)
    restart()


def acknowledged(ack, new_credit):
    """Let go of the frames that have arrived."""
    global base, kept, cursor, credit, retry_from
    count = (ack - base) & 255
    if count > kept:
        return                          # an old frame that came twice
    if count or new_credit != credit:
        retry_from = clock()
    base += count
    kept -= count
    cursor -= count
    if cursor < 0:
        cursor = 0
    credit = new_credit


def go_back():
    """Send everything again."""
    global cursor, resent, retry_from
    resent += cursor
    cursor = 0
    retry_from = clock()


# Sending.

def transmit():
    """Send one frame, if any is due."""
    global cursor, probing, nak_owed, retry_from
    now = clock()
    if kept and not below(now - retry_from, RETRY_CYCLES):
        probing = credit == 0
        go_back()
    allowed = credit
    if probing:
        allowed = 1
    if cursor < kept and cursor < allowed:
        if cursor == 0:
            retry_from = now
        number = base + cursor
        cursor += 1
        probing = 0
        place = number & (WINDOW - 1)
        send_frame(Kind.DATA, number & 255, FRAMES + (place << FRAME_PLACES),
                   read16(LENGTHS + (place << 1)))
    elif nak_owed:
        nak_owed = 0
        send_frame(Kind.NAK, 0, 0, 0)
    elif (ack_owed and not below(now - ack_from, ACK_CYCLES)) or (
            ((expected + room() - advertised) & 255) >= ROOM // 2):
        send_frame(Kind.ACK, 0, 0, 0)


def send_frame(kind, seq, at, length):
    """Send a frame with the payload at an address."""
    global advertised, ack_owed, value
    free = room()
    advertised = expected + free
    ack_owed = 0
    send(SYNC)
    value = 0
    send(kind)
    send(seq)
    send(expected & 255)
    send(free)
    send(length & 255)
    send(unsigned_right(length, 8))
    end = at + length
    while at != end:
        send(next8(at))
    remainder = value
    send(remainder)
    send(unsigned_right(remainder, 8))
    send(unsigned_right(remainder, 16))
    send(unsigned_right(remainder, 24))


def send(byte):
    """Send a byte of a frame, and add it to the CRC."""
    global value
    value = crc(value, byte)
    while read16(Place.SENDING):
        pass
    write8(Place.SEND, byte)


def put_half(number):
    """Put 16 bits."""
    put(number & 255)
    put(unsigned_right(number, 8) & 255)


def put_word(number):
    """Put 32 bits."""
    put_half(number)
    put_half(unsigned_right(number, 16))


def get_half():
    """Get 16 bits."""
    low = get()
    return low | get() << 8


def get_word():
    """Get 32 bits."""
    low = get_half()
    return low | get_half() << 16
