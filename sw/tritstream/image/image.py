"""The image of a model: one file with everything that a device or the golden model needs.

`docs/image.md` documents it. A fixed header, JSON metadata, the compressed tokenizer, and the
payload: the embedding rows, then the tape (`tritstream.image.tape`). The payload is what goes into
a board's memory.
"""

import dataclasses
import hashlib
import json
import pathlib
import struct
import zlib

import numpy as np

from tritstream.errors import BadInput
from tritstream.formats import HEADER_BYTES, UNIT, padded
from tritstream.image.check import check_payload, read_header
from tritstream.image.metadata import read_metadata
from tritstream.image.stages import plans
from tritstream.image.tape import Header
from tritstream.model.tokenizer import MOST_BYTES
from tritstream.support.files import replacing
from tritstream.support.inputs import check_input

__all__ = ["Image", "Section", "write_image"]

_MAGIC = b"TRITSTRM"
_VERSION = 1
# Magic, version, lengths of metadata and tokenizer, start and length of the payload, SHA-256.
_PREAMBLE = struct.Struct("<8sIIIIQ32s")


@dataclasses.dataclass(frozen=True)
class Section:
    """One stage on the tape: its header, and where its parts are in the payload."""

    index: int
    name: str
    header: Header
    start: int
    meta: dict

    @property
    def banks_start(self) -> int:
        """First byte of the gain banks."""
        return self.start + HEADER_BYTES

    @property
    def body_start(self) -> int:
        """First byte of the packed trits."""
        return self.banks_start + self.header.bank_bytes

    @property
    def end(self) -> int:
        """First byte behind the section."""
        return self.start + self.header.units * UNIT

    def codes(self, payload: np.ndarray, projection: int) -> np.ndarray:
        """Packed trits of a projection, uint8 [row groups, columns]."""
        body = payload[self.body_start:self.end]
        groups = body.reshape(-1, self.header.op.projections, self.header.group_bytes)
        return groups[:, projection, :self.header.columns]


def write_image(path: pathlib.Path, meta: dict, tokenizer: bytes | None, payload) -> None:
    """Write an image, whole or not at all, see `tritstream.support.files`.

    `payload` is an iterable of bytes-like pieces, each a whole number of units.
    """
    text = json.dumps(meta, separators=(",", ":")).encode()
    packed = zlib.compress(tokenizer, 9) if tokenizer else b""
    start = padded(_PREAMBLE.size + len(text) + len(packed))
    digest = hashlib.sha256(text + packed)
    with replacing(path) as aside, aside.open("wb") as file:
        file.write(bytes(_PREAMBLE.size) + text + packed)
        file.write(bytes(start - file.tell()))
        for piece in payload:
            digest.update(piece)
            file.write(piece)
        size = file.tell() - start
        file.seek(0)
        file.write(_PREAMBLE.pack(_MAGIC, _VERSION, len(text), len(packed), start, size,
                                  digest.digest()))


class Image:
    """A packed model.

    Parameters
    ----------
    path : Path
        File written by `write_image`.
    check : bool
        Whether to verify the SHA-256 of the contents and all numbers in them; headers and
        metadata are verified always. What has passed is the same on every device.

    Attributes
    ----------
    meta : dict
        Metadata, as `tritstream.image.metadata` has checked them.
    sections : list of Section
        Stages in order.
    tokenizer_json : bytes or None
        Contents of the checkpoint's `tokenizer.json`.

    Raises
    ------
    BadInput
        The file is no image, of another version, cut short, corrupt, or holds what `pack` would
        not have written.
    """

    def __init__(self, path: pathlib.Path | str, *, check: bool = True):
        self.path = pathlib.Path(path)
        try:
            check_input(self.path)
            data = np.memmap(self.path, np.uint8, "r")
        except BadInput:                # a `ValueError`, too
            raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadInput(f"{self.path} cannot be read as an image ({reason}): give a file that "
                           "`tritstream pack` wrote.") from None
        if len(data) < _PREAMBLE.size or bytes(data[:8]) != _MAGIC:
            raise BadInput(f"{self.path} is no tritstream image; make one with `tritstream pack`.")
        _, version, text, packed, start, size, digest = _PREAMBLE.unpack(data[:_PREAMBLE.size])
        if version != _VERSION:
            raise BadInput(f"{self.path} is an image of version {version}, this program reads "
                           f"version {_VERSION}; pack the checkpoint again.")
        if len(data) != start + size:
            raise BadInput(f"{self.path} has {len(data)} bytes instead of {start + size}: it was "
                           "cut short or extended; copy or pack it again.")
        middle, end = _PREAMBLE.size + text, _PREAMBLE.size + text + packed
        if start != padded(end) or size % UNIT:
            raise BadInput(f"{self.path} has its payload of {size} bytes at byte {start}, behind "
                           f"metadata and tokenizer that end at {end}; pack the checkpoint again.")
        self.payload = data[start:]
        if check:
            actual = hashlib.sha256(data[_PREAMBLE.size:end])
            actual.update(self.payload)
            if actual.digest() != digest:
                raise BadInput(f"{self.path} is corrupt: SHA-256 {actual.hexdigest()[:16]}…, not "
                               f"{digest.hex()[:16]}…; copy or pack it again.")
        self.digest = digest.hex()
        self.meta = read_metadata(bytes(data[_PREAMBLE.size:middle]), str(self.path))
        self.tokenizer_json = _inflated(bytes(data[middle:end]), self.path)
        self.sections = self._read_sections()
        if check:
            check_payload(self)

    @property
    def hidden(self) -> int:
        """Width H of the residual."""
        return self.meta["hidden"]

    @property
    def intermediate(self) -> int:
        """Width I of the channel mixer."""
        return self.meta["intermediate"]

    @property
    def layers(self) -> int:
        """Number L of layers."""
        return self.meta["layers"]

    @property
    def vocab(self) -> int:
        """Number V of tokens."""
        return self.meta["vocab"]

    @property
    def start_token(self) -> int | None:
        """Token put in front of every text."""
        return self.meta["bos"]

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """Tokens that end a text."""
        eos = self.meta["eos"]
        return () if eos is None else tuple(eos) if isinstance(eos, list) else (eos,)

    @property
    def stop_token(self) -> int | None:
        """Token at which a device ends a run by itself: the first of `stop_tokens`."""
        return next(iter(self.stop_tokens), None)

    @property
    def wide_rows(self) -> bool:
        """Whether embedding rows have 24 bits an element."""
        return bool(self.row(0)[3])

    @property
    def rows_unit(self) -> int:
        """First unit of the embedding rows."""
        return 0

    @property
    def row_units(self) -> int:
        """Units of an embedding row."""
        return self.meta["row_units"]

    @property
    def tape_unit(self) -> int:
        """First unit of the tape."""
        return self.vocab * self.row_units

    @property
    def tape_units(self) -> int:
        """Units of the tape."""
        return len(self.payload) // UNIT - self.tape_unit

    @property
    def stages(self) -> int:
        """Stages of a pass."""
        return len(self.sections)

    @property
    def body_stages(self) -> int:
        """Stages of a pass that stops in front of the head."""
        return self.stages - 1

    @property
    def lead_units(self) -> int:
        """Units of the tape in front of the embedding row."""
        return self.sections[0].header.units

    @property
    def body_units(self) -> int:
        """Units of the tape up to the head."""
        return self.units_before(self.body_stages)

    def units_before(self, stages: int) -> int:
        """Units of the tape's first `stages` stages."""
        return (self.sections[stages - 1].end // UNIT) - self.tape_unit

    def row(self, token: int) -> bytes:
        """Embedding row of a token, as on the tape."""
        size = self.row_units * UNIT
        return self.payload[token * size:(token + 1) * size].tobytes()

    def tape(self, units: int | None = None) -> np.ndarray:
        """First `units` units of the tape, uint8."""
        units = self.tape_units if units is None else units
        return self.payload[self.tape_unit * UNIT:(self.tape_unit + units) * UNIT]

    def _read_sections(self) -> list[Section]:
        sections, start = [], self.tape_unit * UNIT
        for index, (plan, meta) in enumerate(zip(plans(self.layers), self.meta["stages"],
                                                 strict=True)):
            try:
                header = read_header(
                    self.payload[start:start + HEADER_BYTES].tobytes(), plan, hidden=self.hidden,
                    intermediate=self.intermediate, vocab=self.vocab)
            except BadInput as error:
                raise BadInput(f"{self.path}, stage {plan.name}: {error} Pack the checkpoint "
                               "again.") from None
            sections.append(Section(index, plan.name, header, start, meta))
            start = sections[-1].end
        if start != len(self.payload):
            raise BadInput(f"{self.path} has a payload of {len(self.payload)} bytes, its stages "
                           f"make {start}; pack the checkpoint again.")
        return sections


def _inflated(packed: bytes, path: pathlib.Path) -> bytes | None:
    """Return the tokenizer, of which no more is inflated than a tokenizer has at most."""
    if not packed:
        return None
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, MOST_BYTES)
    except zlib.error as error:
        raise BadInput(f"{path} has a tokenizer that cannot be inflated ({error}); pack the "
                       "checkpoint again.") from None
    if not inflater.eof or inflater.unused_data:
        raise BadInput(f"{path} has a tokenizer that is cut short, or inflates to more than "
                       f"{MOST_BYTES:,} bytes; pack the checkpoint again.")
    return data
