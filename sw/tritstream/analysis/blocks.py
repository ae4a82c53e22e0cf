"""Where the cycles of a pass go, by stage and block: as simulated, or by a closed form."""

import dataclasses
from collections.abc import Mapping, Sequence

from tritstream.analysis.profile import StageProfile, profile, trace
from tritstream.analysis.stage import StageEstimate, estimate_stage
from tritstream.build import BuildConfig, usual_element_width
from tritstream.engines.board import DeviceEngine
from tritstream.image.image import Image
from tritstream.image.tape import Header, Op
from tritstream.link.activity import BLOCKS, Run
from tritstream.link.messages import Identity

__all__ = ["ESTIMATED", "BlockProfile", "block_trace", "limit", "profile_blocks", "total"]

ESTIMATED = "estimated"
"""Evidence of what follows from dimensions and build alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockProfile:
    """A pass.

    Parameters
    ----------
    stages : tuple of StageProfile
        By the hardware's counters.
    busy : tuple of dict
        For each stage the busy cycles of each of `BLOCKS`. They overlap, so that they do not add up
        to the stage's.
    runs : tuple of Run
        When the blocks were busy; none if that is not known.
    evidence : str
        Of what is said of the blocks: `simulated`, or `estimated`, which `waiting` never is.
    """

    stages: tuple[StageProfile, ...]
    busy: tuple[dict[str, int], ...]
    runs: tuple[Run, ...]
    evidence: str


def profile_blocks(engine, image: Image, tokens: Sequence[int]) -> BlockProfile:
    """Take tokens, and return the stages and blocks of the last one's pass.

    Raises
    ------
    BadInput
        The engine has no counters.
    """
    stages = tuple(profile(engine, image, tokens))
    seen = engine.activity()
    if seen and len(seen) == len(stages):
        return BlockProfile(stages=stages, busy=tuple(stage.busy for stage in seen),
                            runs=tuple(run for stage in seen for run in stage.runs),
                            evidence=engine.evidence)
    return BlockProfile(stages=stages, busy=_estimated(engine, image, stages), runs=(),
                        evidence=ESTIMATED)


def _estimated(engine: DeviceEngine, image: Image,
               stages: Sequence[StageProfile]) -> tuple[dict[str, int], ...]:
    """What the tape and the build make the blocks do in each stage, as far as it was not counted.

    What a stage took beyond its beats, or beyond its rows and what is read before, is turnaround.
    """
    build, wide = _build(engine.identity), image.wide_rows
    found = []
    for section, stage in zip(image.sections, stages, strict=True):
        header, stripes = section.header, build.stripes
        estimate = estimate_stage(stage.name, header, build, wide_rows=wide)
        core = stripes.body_units(header) * stripes.unit_stripes
        before = (1 + stripes.bank_units(header)) * stripes.unit_stripes
        is_head = header.op is Op.HEAD
        columns = stripes.group_stripes(header.columns) * build.beat_bytes
        found.append({
            "waiting": stage.stalls, "tape": estimate.beats - core, "scalars": estimate.scalars,
            "quantiser": header.op.vectors * columns // build.vector_width, "core": core,
            "elements": 0 if is_head else _rows(estimate, header, build),
            "head": is_head * estimate.words,
            "turnaround": max(0, stage.cycles - stage.stalls
                              - max(estimate.beats, before + estimate.words)),
        })
    return tuple(found)


def _rows(estimate: StageEstimate, header: Header, build: BuildConfig) -> int:
    """Cycles in which rows pass, without those in which the groups of a block are collected."""
    if build.element_cycles > 1:
        return estimate.words
    return estimate.words - build.stripes.blocks(header.rows) * (header.op.projections - 1)


def _build(identity: Identity) -> BuildConfig:
    """Return the build that a device says that it is, with the usual `E`, which it does not say."""
    width = min(identity.vector_width,
                usual_element_width(identity.stripes.stripe_bytes, identity.lanes))
    return BuildConfig(
        beat_bytes=identity.beat_bytes, groups=identity.groups, lanes=identity.lanes,
        vector_width=identity.vector_width, element_width=width, candidates=identity.candidates,
        max_hidden=identity.max_hidden, max_intermediate=identity.max_intermediate,
        max_vocab=identity.max_vocab, clock_hz=identity.clock_hz)


def total(busy: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Busy cycles of each block in several stages."""
    return {block: sum(stage[block] for stage in busy) for block in BLOCKS}


def limit(busy: Mapping[str, int]) -> str:
    """Return the block that limits a stage, or several: the busiest.

    What comes from the tape is `core` together, for a beat is a beat. Scalars and quantiser are
    never it: where all others wait for them, that is `turnaround`.
    """
    spent = {**{block: busy[block] for block in ("waiting", "elements", "head", "turnaround")},
             "core": busy["tape"] + busy["core"]}
    return max(spent, key=spent.get)


def block_trace(found: BlockProfile, clock_hz: int, device: str) -> dict:
    """Return `trace` with a track for each block, or with the estimate in the stages' arguments."""
    table = trace(found.stages, clock_hz, device)
    events = table["traceEvents"]
    if not found.runs:
        slices = [event for event in events if event["ph"] == "X"]
        for event, busy in zip(slices, found.busy, strict=True):
            event["args"][f"busy ({found.evidence})"] = busy
        return table
    tracks = {block: track for track, block in enumerate(BLOCKS, start=2)}      # behind the stages
    for block, track in tracks.items():
        events += [{"name": kind, "ph": "M", "pid": 1, "tid": track, "args": told} for kind, told in
                   (("thread_name", {"name": f"{block}: {BLOCKS[block]}"}),
                    ("thread_sort_index", {"sort_index": track}))]
    for run in found.runs:
        events.append({
            "name": run.block, "ph": "X", "pid": 1, "tid": tracks[run.block],
            "ts": run.begin * 1e6 / clock_hz, "dur": (run.end - run.begin) * 1e6 / clock_hz,
            "args": {"cycles": run.end - run.begin, "busy": run.busy}})
    return table
