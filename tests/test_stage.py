"""The decoder of headers alone: every operation and every field, against the table of the tape."""

import itertools

import pytest
from amaranth.sim import Simulator

from tritstream.build import BuildConfig
from tritstream.formats import ALIGNMENT, padded
from tritstream.image.tape import HEADER_FIELDS, Header, Op
from tritstream_hw.stage import StageDecoder
from tritstream_hw.tape.layouts import HEADER_LAYOUT

LARGEST = 65_535
EXTREMES = {name: (-(1 << bits - 1), -1, 0, (1 << bits - 1) - 1) if is_signed else
            (0, 1, 1 << bits - 1, (1 << bits) - 1) for name, bits, is_signed in HEADER_FIELDS}
"""What each field is set to; all that its bits can say, but for the operation."""


def config(beat_bytes: int, vector_width: int) -> BuildConfig:
    """Return a build for whatever the fields of a header can say."""
    return BuildConfig(beat_bytes=beat_bytes, vector_width=vector_width, max_hidden=LARGEST,
                       max_intermediate=LARGEST)


def headers():
    """Headers as bytes: each field of each operation at its extremes, the others in the middle."""
    for op in Op:
        plain = {name: values[2] for name, values in EXTREMES.items()} | {"op": op}
        for name in EXTREMES.keys() - {"op"}:
            for value in EXTREMES[name]:
                yield pack({**plain, name: value})
        for pick in range(4):
            yield pack({name: values[pick] for name, values in EXTREMES.items()} | {"op": op})


def pack(fields: dict[str, int]) -> bytes:
    """Return the bytes of a header, by the table alone."""
    return b"".join(fields[name].to_bytes(bits // 8, "little", signed=is_signed)
                    for name, bits, is_signed in HEADER_FIELDS)


def expected(config: BuildConfig, data: bytes, logits: int) -> dict:
    """Return what the blocks have to do, from the bytes of a header."""
    ends = list(itertools.accumulate(bits // 8 for _, bits, _ in HEADER_FIELDS))
    field = {name: int.from_bytes(data[end - bits // 8:end], "little", signed=is_signed)
             for (name, bits, is_signed), end in zip(HEADER_FIELDS, ends, strict=True)}
    op = Op(field["op"])
    alignment = max(ALIGNMENT, config.beat_bytes)
    column_bytes = padded(field["columns"], alignment)
    bank_bytes = padded(2 * field["rows"], alignment)
    chunk = min(config.beat_bytes, 2 * config.vector_width)
    loaded = -(-2 * field["rows"] // chunk) if config.beat_bytes >= ALIGNMENT else 0
    last_chunk = (loaded - 1) % (config.beat_bytes // chunk)
    scalars = [{"mantissa": field[f"{name}_mantissa"], "exponent": field[f"{name}_exponent"]}
               for name in ("scale0", "scale1", "scale2", "ratio", "floor")]
    return {
        "is_embed": op is Op.EMBED,
        "is_head": op is Op.HEAD,
        "gains": {"banks": field["banks"] % 32, "beats": bank_bytes // config.beat_bytes,
                  "last_chunk": last_chunk},
        "quantiser": {
            "base": config.z_base // config.vector_width if op is Op.RESIDUAL else 0,
            "words": column_bytes // config.vector_width,
            "vectors": {Op.EMBED: 0, Op.MLGRU: 3}.get(op, 1),
        },
        "scalars": {"factors": scalars[:3], "ratio": scalars[3], "floor": scalars[4],
                    "separate": op is Op.MLGRU},
        "row": field["rows"],
        "gemv": {
            "column_beats": column_bytes // config.beat_bytes,
            "blocks": field["blocks"],
            "rows": field["rows"],
            "projections": {Op.MLGRU: 3, Op.GLU: 2}.get(op, 1),
            "separate": op is Op.MLGRU,
            "apart": logits and op is Op.HEAD,
        },
        "elements": {
            "embed": op is Op.EMBED,
            "mixes": op in (Op.MLGRU, Op.GLU),
            "glu": op is Op.GLU,
            "fraction0": field["fraction0"],
            "fraction1": field["fraction1"],
            "state_base": field["state_base"],
        },
        "head": {"logits": logits},
    }


def shown(word, like) -> dict | list | int:
    """Return a control word as plain numbers, in the shape of what is expected."""
    if isinstance(like, dict):
        return {name: shown(word[name], part) for name, part in like.items()}
    if isinstance(like, list):
        return [shown(word[index], part) for index, part in enumerate(like)]
    return int(word)


@pytest.mark.parametrize("beat_bytes, vector_width", [(1, 1), (16, 8), (256, 64)])
def test_every_field_of_every_operation(beat_bytes, vector_width):
    """The whole control word, field by field; nothing is cut off in a build of the largest size."""
    build = config(beat_bytes, vector_width)
    dut = StageDecoder(build)

    async def testbench(ctx):
        for number, header in enumerate(headers()):
            logits = number & 1
            ctx.set(dut.header, HEADER_LAYOUT.from_bits(int.from_bytes(header, "little")))
            ctx.set(dut.logits, logits)
            await ctx.delay(1e-9)
            wanted = expected(build, header, logits)
            assert shown(ctx.get(dut.word), wanted) == wanted, (Op(header[1]).name, header.hex())

    simulator = Simulator(dut)
    simulator.add_testbench(testbench)
    simulator.run()


def test_the_table_is_what_a_header_writes():
    """The bytes that the decoder is held to are those that an image has."""
    for op in Op:
        header = Header(op=op, columns=5, rows=7, state_base=11, fractions=(3, 4))
        assert len(header.to_bytes().rstrip(b"\0")) <= HEADER_LAYOUT.size // 8
        values = HEADER_LAYOUT.from_bits(int.from_bytes(header.to_bytes(), "little"))
        assert (values.op, values.columns, values.rows, values.state_base) == (op, 5, 7, 11)
        assert (values.fraction0, values.fraction1, values.blocks) == (3, 4, 2)
