"""Where everything lies in the large memory behind the image, and how large a model may be."""

from tritstream.build import BuildConfig
from tritstream.formats import UNIT, padded
from tritstream.link.messages import RECORD_WORDS
from tritstream_hw.micro.isa import DATA_BYTES

LIMITS = BuildConfig(
    beat_bytes=1, vector_width=1, max_hidden=128, max_intermediate=256, max_vocab=4096,
    max_state=2048, max_stages=64, candidates=16, memory_bytes=110 << 10)
"""Most of everything. Sums of 16 bits end at 258 columns, and activations at 512 in all."""

MAX_HIDDEN = LIMITS.max_hidden
MAX_INTERMEDIATE = LIMITS.max_intermediate
MAX_COLUMNS = LIMITS.max_columns
MAX_VOCAB = LIMITS.max_vocab
MAX_STATE = LIMITS.max_state
MAX_STAGES = LIMITS.max_stages
MOST_CANDIDATES = LIMITS.candidates
MEMORY_UNITS = LIMITS.memory_units

UNIT_BYTES = UNIT

# The link.
FIFO_BYTES = 1024           # received, and not yet read: room for two frames
WINDOW = 4                  # frames that are sent, and kept
FRAME_BYTES = 512
FIFO = LIMITS.memory_bytes
FRAMES = FIFO + FIFO_BYTES
LENGTHS = FRAMES + WINDOW * FRAME_BYTES

# Numbers that a host may read.
VECTORS = LENGTHS + 64
VECTOR_WORDS = LIMITS.vector_elements
Z = VECTORS + 4 * LIMITS.z_base
STATE = VECTORS + 4 * VECTOR_WORDS
RECORDS = STATE + 4 * MAX_STATE
RECORD_BYTES = 4 * RECORD_WORDS
COUNTERS = RECORDS + RECORD_BYTES * MAX_STAGES

# Of the stage at hand.
CANDIDATES = COUNTERS + 64          # token and sum, best first
PEAKS = CANDIDATES + 8 * (MOST_CANDIDATES + 1)      # largest |vector * gain|, low and high word
TOPS = PEAKS + 32                   # the same, normalised, and by how many places
SCALES = TOPS + 32                  # of each projection: mantissa and shift
ELEMENTS = SCALES + 32              # of each projection: five rows
ARGUMENTS = ELEMENTS + 64           # of a command
HEADER = ARGUMENTS + 64             # of a stage whose tape is streamed, its banks, and a row group
BANKS = HEADER + UNIT_BYTES
GROUP = BANKS + 5 * padded(2 * MAX_COLUMNS)
END = GROUP + padded(4 + 3 * MAX_HIDDEN)

assert END <= DATA_BYTES, f"{END} bytes of {DATA_BYTES}"
assert all(place % 4 == 0 for place in (VECTORS, STATE, RECORDS, CANDIDATES, HEADER, GROUP))
assert FIFO % FIFO_BYTES == 0 and FRAMES % FRAME_BYTES == 0
