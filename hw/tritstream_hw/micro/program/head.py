"""The head: logits, and the best of them."""

from tritstream.link.protocol import Code
from tritstream_hw.micro.language import append32, next32, read32, write32
from tritstream_hw.micro.program import link, vectors
from tritstream_hw.micro.program.layout import CANDIDATES, MOST_CANDIDATES

candidates = 0      # that there are
logits = 0          # whether all are sent


def take(token, total):
    """Take the logit of the next token."""
    global candidates
    vectors.chain(total)
    if logits:
        link.put(Code.LOGIT)
        link.put_word(total)
    place = CANDIDATES + (candidates << 3)
    if candidates == MOST_CANDIDATES:
        place = CANDIDATES + ((MOST_CANDIDATES - 1) << 3)
        if total <= read32(place + 4):
            return
    else:
        candidates += 1
    # Worse ones move on by one place; of equal ones, the earlier token stays before.
    while place != CANDIDATES and read32(place - 4) < total:
        write32(place, read32(place - 8))
        write32(place + 4, read32(place - 4))
        place -= 8
    append32(place, token)
    write32(place, total)


def answer(count):
    """Put so many candidates, best first."""
    place = CANDIDATES
    while count:
        link.put_word(next32(place))
        link.put_word(next32(place))
        count -= 1
