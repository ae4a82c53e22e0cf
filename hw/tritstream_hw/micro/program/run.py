"""RUN: passes, each fed what the one before has found, and what is told of them."""

from tritstream.link.protocol import Code, RunFlag, Status
from tritstream_hw.micro.language import add_carry, append32, below, read32
from tritstream_hw.micro.program import head, link, stage, tape, vectors
from tritstream_hw.micro.program.layout import (
    CANDIDATES,
    MAX_STAGES,
    MAX_VOCAB,
    MEMORY_UNITS,
    RECORDS,
    SCALES,
)

# Of the latest CONFIGURE; 0 before.
rows_unit = 0
tape_unit = 0
lead_units = 0
row_units = 0
vocab = 0
stop_token = 0

# Of the command.
flags = 0
token = 0
passes = 0          # that may still follow
tape_units = 0
stages = 0

began = 0           # when the pass began
beats = 0           # that the tapes of all passes had, 64 bits
beats_upper = 0


def configure():
    """Take the arguments of CONFIGURE, if the vocabulary fits; return a status."""
    global rows_unit, tape_unit, lead_units, row_units, vocab, stop_token
    new_rows_unit = link.get_word()
    new_tape_unit = link.get_word()
    new_lead_units = link.get_half()
    new_row_units = link.get_half()
    new_vocab = link.get_word()
    new_stop_token = link.get_word()
    if below(MAX_VOCAB, new_vocab):
        return Status.OUT_OF_RANGE
    rows_unit = new_rows_unit
    tape_unit = new_tape_unit
    lead_units = new_lead_units
    row_units = new_row_units
    vocab = new_vocab
    stop_token = new_stop_token
    return Status.OK


def forget():
    """Forget what was configured."""
    global row_units, vocab, lead_units
    row_units = 0
    vocab = 0
    lead_units = 0


def outside(unit, units):
    """Return whether some of these units are not in the memory."""
    return below(MEMORY_UNITS, unit) or below(MEMORY_UNITS - unit, units)


def command():
    """Carry out RUN."""
    global flags, token, passes, tape_units, stages
    flags = link.get()
    token = link.get_word()
    passes = link.get_half()
    link.get()                          # lanes, of which there is one
    tape_units = link.get_word()
    stages = link.get_half()
    stage.fresh = flags & RunFlag.FRESH
    while True:
        tape.streamed = flags & RunFlag.STREAMED
        tape.left = tape_units
        tape.row_left = row_units
        status = judge()
        if status == Status.OK:
            status = play()
        tape.drop()
        link.put(Code.RUN)
        link.put(status)
        if status != Status.OK:
            return
        last = answer()
        link.flush()
        if last:
            return
        token = read32(CANDIDATES)
        passes -= 1
        stage.fresh = 0


def judge():
    """Return what is said of a pass before it is played; find its parts."""
    if stages == 0 or stages > MAX_STAGES or below(tape_units, lead_units):
        return Status.OUT_OF_RANGE
    if row_units == 0:
        return Status.BAD_TOKEN
    if tape.streamed:
        return Status.OK
    if not below(token, vocab):
        return Status.BAD_TOKEN
    if below(MEMORY_UNITS, rows_unit) or outside(rows_unit + token * row_units, row_units) or (
            outside(tape_unit, tape_units) or passes == 0):
        return Status.OUT_OF_RANGE
    tape.row_at = (rows_unit + token * row_units) << 6
    tape.at = tape_unit << 6
    return Status.OK


def play():
    """Play a pass; return a status."""
    global began, beats, beats_upper
    began = link.clock()
    tape.waited = 0
    if stage.fresh:
        vectors.digest = 0
    head.candidates = 0
    head.logits = flags & RunFlag.LOGITS
    played = 0
    to = RECORDS
    beats = beats + ((tape_units + row_units) << 6)
    beats_upper = add_carry(beats_upper, 0)
    status = Status.OK
    while played != stages and status == Status.OK:
        status = stage.play(played == 0)
        if played == 0 and tape.left != tape_units - lead_units:
            status = Status.BAD_TAPE    # the row is not where it should be
        played += 1
        if played != stages and status == Status.OK:
            stage.finish()
        append32(to, vectors.digest)
        append32(to, link.clock() - began)
        append32(to, 0)
        append32(to, tape.waited)
        append32(to, 0)
        to += 12
    if tape.left:
        status = Status.BAD_TAPE
    if status != Status.OK:
        vectors.digest = 0
    return status


def answer():
    """Put what a pass has given; return whether it was the last one."""
    count = head.candidates
    link.poll()                         # a command that waits behind this one ends it
    last = count == 0 or passes == 1 or tape.streamed != 0 or (
        read32(CANDIDATES) == stop_token or link.fifo_in != link.fifo_out)
    if not flags & RunFlag.CANDIDATES and count:
        count = 1
    link.put(count)
    if count:
        link.put_half(read32(SCALES))
        link.put(read32(SCALES + 4))
    else:
        link.put_half(0)
        link.put(0)
    link.put_word(vectors.digest)
    head.answer(count)
    link.put(last)
    link.put_word(link.clock() - began)
    link.put_word(0)
    link.put_word(tape.waited)
    link.put_word(0)
    return last
