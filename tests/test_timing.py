"""The picture of two stages: that what it shows is what the tape makes the blocks do."""

import itertools

from tritstream.build import BuildConfig
from tritstream.formats import UNIT
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_sim.report.timing import activity, draw, turnarounds

WIDTH = 16
MOST_TURNAROUND = 75        # cycles, with so few columns


def test_every_beat_of_the_tape_is_seen_and_every_row(tmp_path):
    shape = ModelConfig(hidden=24, intermediate=40, layers=1, vocab=9)
    image = pack(DummyCheckpoint(shape, seed=1), tmp_path / "layer.trit")
    config = BuildConfig(beat_bytes=WIDTH, vector_width=WIDTH // 2, max_hidden=24,
                         max_intermediate=40, max_vocab=9, max_state=24, max_stages=6)
    working, ends = activity(config, image, token=5, stages=image.body_stages)
    sections = image.sections[:image.body_stages]
    assert len(ends) == len(sections)
    for section, (start, end) in zip(sections[1:], itertools.pairwise(ends), strict=True):
        header = section.header
        within = {name: sum(worked[start + 1:end + 1]) for name, worked in working.items()}
        beats = header.units * UNIT // WIDTH
        assert within["core: trits"] + within["tape: gains"] + UNIT // WIDTH == beats
        assert within["rows: sums"] == within["elements, statistics"] == header.rows

    waits = turnarounds(working, ends)
    assert len(waits) == len(sections) - 2
    assert max(waits) <= MOST_TURNAROUND
    for wait, before, end in zip(waits, ends[1:-1], ends[2:], strict=True):
        last = max(cycle for cycle in range(before) if working["core: trits"][cycle])
        first = working["core: trits"].index(True, before)
        assert wait < first - last < end - last

    names = [section.name for section in sections]
    draw(working, dict(zip(names[-3:], ends[-3:], strict=True)), "a layer", tmp_path / "a.svg")
    assert "down: " in (tmp_path / "a.svg").read_text()
