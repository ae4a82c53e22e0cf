"""The whole accelerator at shapes that a toy does not have, at the speed of C++.

One layer and the head of the published 370M, whose counters are the widest; `tiny`, whose embedding
rows exactly fill their unit; rows, gains and vectors that end one before, at and one behind a unit;
what a memory that withholds beats costs, to the cycle; and builds and models that are drawn.
"""

import dataclasses
import itertools
import random

import pytest

from tritstream.build import MOST_LANES, BuildConfig
from tritstream.catalog import resolve
from tritstream.cli.estimate import image_estimate
from tritstream.formats import HEADER_BYTES, UNIT
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import PRESETS, DummyCheckpoint
from tritstream_hw.accelerator import Accelerator
from tritstream_sim.verilate.lockstep import Lockstep
from tritstream_sim.verilate.passes import Passes, pass_bytes

pytestmark = pytest.mark.verilator

SMALL = {"candidates": 5, "max_hidden": 192, "max_intermediate": 256, "max_vocab": 512,
         "max_state": 512, "max_stages": 32}
DEPTH = 100     # cycles of a stage that nothing hides, beside a row group's
SIDE_BY_SIDE = 64   # bytes per cycle of a drawn build with several memories; wide ones take minutes
TOGETHER = 64       # the same, times its lanes
BY_ORDER = 0.03     # share of a pass that the order of a small vocabulary's logits may make of it

WIDE = [(4, 1), (16, 1), (64, 1), (32, 4)]      # P, G of builds for the published shapes

# Bytes of a row are 4 + H, or 4 + 3 H with outliers; a unit holds 64 of them, or 32 gains, or the
# activations of 64 columns, and a block 5 rows.
EDGES = {
    "a row ends in its unit": (59, 63), "a row fills its unit": (60, 64),
    "a row begins a second unit": (61, 65), "a row ends in its second unit": (123, 127),
    "a row fills two units": (124, 128), "a row begins a third unit": (125, 129),
    "gains end in their unit": (31, 95), "gains fill their unit": (32, 96),
    "gains begin a second unit": (33, 97), "a vector ends in its unit": (63, 191),
    "a vector fills its unit": (64, 192), "a vector begins a second unit": (65, 193),
}
WIDE_EDGES = {"a wide row ends in its unit": (19, 30), "a wide row fills its unit": (20, 31),
              "a wide row begins a second unit": (21, 32),
              "a wide row ends with a part of a word": (41, 30)}


def published_build(beat_bytes: int, groups: int = 1) -> BuildConfig:
    """Return the build of this width that holds the published shapes."""
    return BuildConfig(beat_bytes=beat_bytes, groups=groups,
                       vector_width=min(beat_bytes, beat_bytes * groups // 2),
                       element_width={4: 1, 16: 4, 64: 2, 128: 4}[beat_bytes * groups])


def assert_estimated(image, config, records, *, within=0.01, **tokens):
    """A pass takes as many cycles as `estimate` says, within 1 %.

    In the head the order of the logits counts, which `within` allows for; the rest is held to 1 %.
    """
    config = dataclasses.replace(config, memory_bytes=config.stripes.unit_bytes << 24)
    said, found = image_estimate(image, config, **tokens), [record.cycles for record in records]
    print(f"P = {config.beat_bytes}, G = {config.groups}, V = {config.vector_width}, "
          f"E = {config.element_width}, {tokens}: {sum(found)} cycles, estimated {said.cycles}")
    assert abs(said.cycles - sum(found)) <= within * sum(found)
    if within > 0.01:
        body = sum(stage.cycles for stage in said.stages[:-1])
        assert abs(body - sum(found[:-1])) <= 0.01 * sum(found[:-1])


def dummy(directory, *, outliers=False, **shape):
    """Return a packed random model."""
    return pack(DummyCheckpoint(ModelConfig(**shape), seed=5, outliers=outliers),
                directory / "dummy.trit")


@pytest.fixture(scope="module")
def cache(request):
    return request.config.rootpath / "build" / "sim"


@pytest.fixture(scope="module", params=WIDE, ids=["4", "16", "64", "32x4"])
def wide(request, cache):
    """A build that holds the published shapes, and its accelerator."""
    config = published_build(*request.param)
    with Passes(Accelerator(config), cache) as passes:
        yield config, passes


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """One layer of the published 370M, and its head."""
    shape = dataclasses.replace(PRESETS["370M"], layers=1)
    return pack(DummyCheckpoint(shape, seed=1), tmp_path_factory.mktemp("published") / "370M.trit")


def test_a_layer_and_the_head_of_the_published_370m(wide, published):
    config, passes = wide
    conversation = Lockstep(passes, published)
    conversation.step(5, head=False)
    records = conversation.step(31_999)
    assert_estimated(published, config, records)
    group, stripes = published.hidden // config.beat_bytes, config.stripes
    for section, record in zip(published.sections, records, strict=True):
        beats = stripes.section_units(section.header) * stripes.unit_stripes
        least = beats if section.header.op.projections else published.row_units * UNIT
        assert record.stalls == 0
        row = max(published.row_units * UNIT, published.hidden * config.element_cycles)
        assert least < record.cycles < beats + row * (section.index == 0) + group + DEPTH, (
            section.name)


# Hidden, intermediate, layers, vocabulary. At each beat width something else limits them.
ESTIMATED = [(96, 256, 3, 600), (128, 384, 2, 2048), (160, 400, 2, 1000), (200, 333, 2, 501),
             (250, 700, 1, 3000), (320, 900, 1, 2000), (384, 1024, 1, 1500), (512, 1400, 1, 1200),
             (600, 601, 1, 700), (768, 2048, 1, 800), (1000, 1500, 1, 100)]


def test_cycles_are_as_estimated(wide, tmp_path):
    config, passes = wide
    models = [resolve("tiny").image, resolve("demo").image]
    models += [dummy(tmp_path, hidden=hidden, intermediate=intermediate, layers=layers,
                     vocab=vocab) for hidden, intermediate, layers, vocab in ESTIMATED]
    shares = {}
    for image in models:
        records = Lockstep(passes, image).step(7)
        # Of a pass of `tiny` that is so wide, the head is a tenth.
        shortest = image is models[0] and config.stripe_bytes > 64
        assert_estimated(image, config, records, within=BY_ORDER if shortest else 0.01)
        units = sum(section.header.units for section in image.sections) + image.row_units
        shares[image.hidden] = (units * UNIT // config.stripe_bytes
                                / sum(record.cycles for record in records))
    # Small models, whose stages are short, are near the roof, too.
    tiny, demo = (shares[image.hidden] for image in models[:2])
    assert config.stripe_bytes != 16 or tiny >= 0.8
    assert config.stripe_bytes != 64 or demo >= 0.92


# Of tokens that share a pass.
SHARED = [(384, 1024, 1, 1500), (96, 256, 3, 600), (200, 333, 2, 501)]


@pytest.mark.parametrize("beat_bytes, lanes", [(4, 16), (16, 8)])
def test_cycles_of_tokens_that_share_a_pass_are_as_estimated(cache, tmp_path, published,
                                                             beat_bytes, lanes):
    """Half of the lanes and all of them, of as many conversations, or of a prompt."""
    some = lanes // 2, lanes
    models = [(resolve("tiny").image, BY_ORDER, some)]
    models += [(dummy(tmp_path, hidden=hidden, intermediate=intermediate, layers=layers,
                      vocab=vocab), BY_ORDER, some)
               for hidden, intermediate, layers, vocab in SHARED]
    if beat_bytes > 4:          # for which that takes long
        models += [(resolve("demo").image, 0.01, some), (published, 0.01, [lanes])]
    images = [image for image, _, _ in models]
    config = dataclasses.replace(
        published_build(beat_bytes), lanes=lanes,
        max_hidden=max(image.hidden for image in images),
        max_intermediate=max(image.intermediate for image in images),
        max_vocab=max(image.vocab for image in images),
        max_state=max(image.layers * image.hidden for image in images))
    with Passes(Accelerator(config), cache) as passes:
        for image, within, counts in models:
            for count in counts:
                tokens = range(7, 7 + 13 * count, 13)
                apart = Lockstep(passes, image, lanes).together(list(enumerate(tokens)))
                prompt = Lockstep(passes, image).together([(0, token) for token in tokens])
                for records, consecutive in ((apart, False), (prompt, True)):
                    assert_estimated(image, config, records, within=within, tokens=count,
                                     consecutive=consecutive)


@pytest.mark.parametrize("width, groups", [(2, 1), (8, 1), (32, 1), (8, 3), (32, 4)])
def test_everything_that_ends_at_a_unit(cache, tmp_path, width, groups):
    """P = V, and every edge of a unit on one build."""
    config = published_build(width, groups) if (width, groups) in WIDE else BuildConfig(
        beat_bytes=width, groups=groups, vector_width=width, element_width=min(width, 4 * groups),
        **SMALL)
    with Passes(Accelerator(config), cache) as passes:
        whole = Lockstep(passes, resolve("tiny").image)
        for token in (0, 511, 7):
            records = whole.step(token)
        assert_estimated(whole.image, config, records)
        for outliers, edges in ((False, EDGES), (True, WIDE_EDGES)):
            for number, (edge, (hidden, intermediate)) in enumerate(edges.items()):
                image = dummy(tmp_path, outliers=outliers, hidden=hidden,
                              intermediate=intermediate, layers=1, vocab=9 + number)
                print(f"P = V = {width}, G = {groups}: {edge}")
                assert image.row(0)[3] == outliers
                conversation = Lockstep(passes, image)
                for token in (image.vocab - 1, 0):
                    conversation.step(token)


def test_stalls_are_counted_to_the_cycle(cache, tmp_path):
    """A cycle more is a stall counted, and no other is, but in the shadow of a stage's end."""
    width = 8
    collecting = HEADER_BYTES // width + 3      # cycles of a header that nothing hides then
    ahead = 20                                  # of scalars, which do not wait for a header
    with Passes(Accelerator(BuildConfig(beat_bytes=width, vector_width=width, **SMALL)),
                cache) as passes:
        conversation = Lockstep(passes, dummy(tmp_path, hidden=128, intermediate=200, layers=1,
                                                  vocab=300))
        image = conversation.image
        without = conversation.step(1)
        assert not any(record.stalls for record in without)
        least = sum(record.cycles for record in without)
        for section in image.sections:
            start = (section.start // UNIT - image.tape_unit) * UNIT // width
            start += image.row_units * UNIT // width * (section.index > 0)
            end = start + section.header.units * UNIT // width
            places = {"header": start}
            if section.header.banks:
                places |= {"banks": start + HEADER_BYTES // width}
            if section.header.op.projections:
                places |= {"body": (start + end) // 2, "last": end - 1}
            for (place, beat), cycles in itertools.product(places.items(), (1, 2, 90)):
                records = conversation.step(1, gaps={beat: cycles})
                more = sum(record.cycles for record in records) - least
                stalls = [record.stalls for record in records]
                where = f"{section.name}, {place}: {cycles} cycles withheld, stalls {stalls}"
                if place in ("body", "last"):
                    assert stalls[section.index] == sum(stalls) == cycles, where
                if place == "last":         # elements before it may take longer than it
                    assert more <= cycles, where
                elif place == "header":     # collected ahead, in the shadow of the stage before
                    assert sum(stalls) - ahead <= more <= sum(stalls) + collecting, where
                    assert cycles > 2 or section.index == 0 or sum(stalls) == more == 0, where
                else:
                    assert more == sum(stalls) <= cycles, where


def draw_build(rng: random.Random) -> BuildConfig:
    """Return any build for models of a few hundred rows."""
    beat, vector = rng.randint(0, 7), rng.randint(0, 6)
    vector = min(vector, beat)
    groups = rng.randint(1, max(1, min(8, SIDE_BY_SIDE >> beat))) if rng.random() < 0.5 else 1
    most = max(1, min(MOST_LANES, TOGETHER // (groups << beat)))
    lanes = rng.randint(1, most) if rng.random() < 0.5 else 1
    hidden, layers = rng.randint(1, 200), rng.randint(1, 4)
    return BuildConfig(
        beat_bytes=1 << beat, groups=groups, lanes=lanes, vector_width=1 << vector,
        element_width=1 << rng.randint(0, min(vector, 3)), candidates=rng.randint(1, 20),
        max_hidden=hidden,
        max_intermediate=rng.randint(1, 300), max_vocab=rng.randint(1, 400),
        max_state=layers * hidden, max_stages=4 * layers + 2)


def draw_shape(rng: random.Random, build: BuildConfig) -> dict[str, int]:
    """Return a model that fits a build, often one that fills it."""
    def dimension(most):
        return most if rng.random() < 0.4 else rng.randint(1, most)

    return {"hidden": dimension(build.max_hidden), "layers": dimension(build.max_stages // 4),
            "intermediate": dimension(build.max_intermediate), "vocab": dimension(build.max_vocab),
            "bos": None, "eos": None}


def draw_tokens(rng: random.Random, lanes: int, vocab: int) -> list[tuple[int, int]]:
    """Return conversations and tokens that share a pass, those of a conversation as neighbours."""
    conversations = rng.sample(range(lanes), lanes)
    drawn = sorted(rng.choices(range(lanes), k=rng.randint(1, lanes)))
    return [(conversations[n], rng.randrange(vocab)) for n in drawn]


def draw_gaps(rng: random.Random, beats: int) -> dict[int, int]:
    """Return cycles for which a memory withholds some beats: few or many, short or long."""
    share, longest = rng.choice([(0, 1), (0.01, 300), (0.3, 4), (0.9, 2)])
    return {beat: rng.randint(1, longest) for beat in range(beats) if rng.random() < share}


def test_a_build_that_is_drawn(cache, tmp_path, seed, build_number):
    """Any build computes what golden does, of any model that fits, however its memory pauses."""
    rng = random.Random(f"{seed} {build_number}")
    config = draw_build(rng)
    print(config)
    with Passes(Accelerator(config), cache) as passes:
        for _ in range(5):
            shape, outliers = draw_shape(rng, config), rng.random() < 0.3
            print(f"{shape}, outliers: {outliers}")
            image = dummy(tmp_path, outliers=outliers, **shape)
            conversations = Lockstep(passes, image, config.lanes)
            for head in (True, False, True):
                tokens = draw_tokens(rng, config.lanes, image.vocab)
                stages = image.stages if head else image.body_stages
                played = pass_bytes(image, [token for _, token in tokens], stages, config.stripes)
                beats = len(played) // config.stripe_bytes
                conversations.together(tokens, head=head, gaps=draw_gaps(rng, beats))
