"""A stage of a pass: its header is judged, its rows are computed, its vector is quantised."""

from tritstream.formats import FORMATS
from tritstream.image.tape import MAGIC, ROW_PREFIX, WIDE_BYTES, Bank, Op
from tritstream.link.protocol import Status
from tritstream_hw.micro.isa import Place
from tritstream_hw.micro.language import (
    append32,
    below,
    dot,
    next8,
    next16,
    next32,
    next_signed16,
    read8,
    read16,
    read32,
)
from tritstream_hw.micro.program import elements, head, link, scales, tape, vectors
from tritstream_hw.micro.program.layout import (
    BANKS,
    ELEMENTS,
    GROUP,
    HEADER,
    MAX_COLUMNS,
    MAX_HIDDEN,
    MAX_INTERMEDIATE,
    MAX_STATE,
    MAX_VOCAB,
    SCALES,
    STATE,
    UNIT_BYTES,
    VECTORS,
    Z,
)

BLOCK = FORMATS.trits_per_byte
MOST_SHIFT = FORMATS.max_shift
KNOWN_BANKS = sum(Bank)
GAINS = Bank.GAIN0 | Bank.GAIN1 | Bank.GAIN2

fresh = 0           # the recurrent state counts as zero
header = 0          # where it is
op = 0
rows = 0
columns = 0
projections = 0
quantised = 0       # vectors that the stage before has quantised
row = 0             # that is computed
x_at = 0            # element of x, of z and of the state for the next row
z_at = 0
state_at = 0
keep_at = 0
fraction0 = 0
fraction1 = 0


def play(first):
    """Play the next stage, the first one of a pass or another; return a status."""
    global header, quantised, row
    if tape.left == 0:
        return Status.BAD_TAPE
    header = tape.take(1, HEADER)
    if not judge(first):
        return Status.BAD_TAPE
    if not first:
        scales.make(header, projections, quantised)
    take_banks()
    vectors.clear()
    row = 0
    if first:
        if not embed():
            return Status.BAD_TAPE
    else:
        compute()
    return Status.OK


def judge(first):
    """Return whether a header can be computed to its end, and read its fields."""
    global op, rows, columns, projections, fraction0, fraction1, x_at, z_at, state_at
    op = read8(header + 1)
    fraction0 = read8(header + 3)
    columns = read16(header + 4)
    rows = read16(header + 6)
    fraction1 = read8(header + 38)
    base = read32(header + 8)
    banks = read8(header + 2)
    if read8(header) != MAGIC or op > Op.HEAD or banks & ~KNOWN_BANKS or rows == 0:
        return 0
    # Which operation is where decides what is quantised for it, and where the row is.
    if (op == Op.EMBED) != first:
        return 0
    most = MAX_HIDDEN
    widest = MAX_HIDDEN
    projections = 1
    if op == Op.GLU:
        projections = 2
        most = MAX_INTERMEDIATE
    elif op == Op.MLGRU:
        projections = 3
        if below(MAX_STATE - rows, base):
            return 0
    elif op == Op.HEAD:
        most = MAX_VOCAB
    elif op == Op.RESIDUAL:
        widest = MAX_COLUMNS
    if rows > most or columns > widest or (columns == 0 and not first):
        return 0
    blocks = read16(header + 36)
    excess = blocks * BLOCK - rows
    if excess < 0 or excess >= BLOCK:
        return 0
    units = count_banks(banks) * padded_units(rows << 1)
    if not first:
        units += blocks * projections * padded_units(columns)
    x_at = VECTORS
    z_at = Z
    state_at = STATE + (base << 2)
    return units <= tape.left and read32(header + 12) == units + 1


def count_banks(banks):
    """Return how many bits of a byte are set."""
    count = 0
    while banks:
        count += banks & 1
        banks >>= 1
    return count


def padded_units(size):
    """Return how many units bytes take with their padding."""
    return (size + (UNIT_BYTES - 1)) >> 6


def take_banks():
    """Find the gain banks."""
    global keep_at
    banks = read8(header + 2)
    units = padded_units(rows << 1)
    at = tape.take(count_banks(banks) * units, BANKS)
    step = units << 6
    keep_at = 0
    vectors.pre_at = 0
    if banks & Bank.KEEP:
        keep_at = at
        at += step
    if banks & Bank.PRE:
        vectors.pre_at = at
        at += step
    vectors.gains_at = at
    vectors.gains_step = step
    vectors.quantisers = count_banks(banks & GAINS)


def finish():
    """Quantise the stage's vector for the next one."""
    global quantised
    quantised = vectors.quantisers
    at = vectors.gains_at - (rows << 1)
    if op == Op.MLGRU or op == Op.GLU:
        vectors.quantise(Z, rows, at)
    else:
        vectors.quantise(VECTORS, rows, at)


def embed():
    """Make x of the embedding row; return whether that is as long as it should be."""
    units = tape.row_left
    at = tape.take_row(GROUP)
    mantissa = next16(at)
    shift = next8(at)
    wide = next8(at)
    if shift > MOST_SHIFT or wide > 1:
        return 0
    size = rows
    if wide:
        size = rows * WIDE_BYTES
    if padded_units(size + ROW_PREFIX) != units:
        return 0
    while row != rows:
        number = next8(at)
        if wide:
            number |= next8(at) << 8
            number |= next8(at) << 16
            number = (number << 8) >> 8
        else:
            number = (number << 24) >> 24
        put_x(elements.dequantise(number, mantissa, shift))
    return 1


def put_x(number):
    """Append an element to x, and count it."""
    global x_at, row
    append32(x_at, number)
    vectors.count_first(number)
    vectors.count(number)
    row += 1


def compute():
    """Compute all rows, five at a time."""
    units = padded_units(columns)
    while row < rows:
        link.poll()
        projection = 0
        to = ELEMENTS
        while projection != projections:
            activations = 0
            if quantised > 1:
                activations = projection * MAX_HIDDEN
            codes = tape.take(units, GROUP)
            dot(codes, activations, columns)
            dequantise_block(to, SCALES + (projection << 3))
            to += 4 * BLOCK
            projection += 1
        finish_block()


def dequantise_block(to, scale):
    """Dequantise five sums."""
    mantissa = next32(scale)
    shift = next32(scale)
    at = Place.SUMS
    while at != Place.SUMS + 2 * BLOCK:
        total = next_signed16(at)
        if op != Op.HEAD:
            total = elements.dequantise(total, mantissa, shift)
        append32(to, total)


def finish_block():
    """Do what the stage does with the elements of five rows, or as many as there are."""
    global row
    at = ELEMENTS
    while at != ELEMENTS + 4 * BLOCK and row != rows:
        element = read32(at)
        if op == Op.RESIDUAL:
            put_x(read32(x_at) + element)
        elif op == Op.HEAD:
            head.take(row, element)
            row += 1
        elif op == Op.GLU:
            put_z(elements.gate(element, read32(at + 4 * BLOCK), fraction0))
        else:
            mix(element, read32(at + 4 * BLOCK), read32(at + 8 * BLOCK))
        at += 4


def put_z(number):
    """Append an element to z, and count it."""
    global z_at, row
    append32(z_at, number)
    vectors.count(number)
    row += 1


def mix(i, f, g):
    """Advance the state by a row."""
    global state_at, keep_at
    h = 0
    if not fresh:
        h = read32(state_at)
    h = elements.recurrence(i, f, next16(keep_at), h, fraction0, fraction1)
    append32(state_at, h)
    vectors.count_first(g)
    put_z(elements.gate((h + (1 << FORMATS.state_extra - 1)) >> FORMATS.state_extra, g, fraction0))
