"""The directory of a run: what is in it, and who may write there.

`run.json` has settings and digests of the data; `tokenizer.json` was given or
learned; `losses.csv` and `losses.png` are the curve; `checkpoints` is what a resumption starts
from, and `model` the trained model in the published layout.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig
from tritstream.support.files import write_whole
from tritstream.support.inputs import check_input
from tritstream_train.config import RUNTIME, TrainConfig
from tritstream_train.run.curve import Curve
from tritstream_train.run.state import State, latest

__all__ = ["Run"]

KIND = "tritstream run"
FORMAT = f"{KIND} 2"
MOST_BYTES = 1 << 20        # of a `run.json`
TEXTS = frozenset({"data", "valid"})    # settings that may name other files of the same contents


@dataclasses.dataclass(kw_only=True)
class Run:
    """A run on disk.

    Parameters
    ----------
    directory : Path
        Where it is.
    config : TrainConfig
        Its settings.
    digests : dict
        SHA-256 of its inputs by setting (`data`, `valid`, `tokenizer`, `start`).
    command : list of str
        How it was started.
    shape : ModelConfig or None
        Of the model; None until it is known.
    """

    directory: Path
    config: TrainConfig
    digests: dict
    command: list
    shape: ModelConfig | None = None

    @classmethod
    def begin(cls, directory: Path, config: TrainConfig, digests: dict) -> "Run":
        """Describe a new run; nothing is written before `create`.

        Raises
        ------
        BadInput
            Its directory holds something already, or cannot be made.
        """
        if (directory / "run.json").exists():
            raise BadInput(f"{directory} holds a run already: go on with it by --resume, or give "
                           "another directory.")
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise BadInput(f"{directory} exists and is not a run: give another directory.")
        there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise BadInput(f"{directory} cannot be made: {there} is not a directory, or not one "
                           "that can be written to; give another directory.")
        return cls(directory=directory, config=config, digests=digests, command=sys.argv)

    @classmethod
    def open(cls, directory: Path) -> "Run":
        """Open the directory of a run.

        Raises
        ------
        BadInput
            It is none.
        """
        path = directory / "run.json"
        try:
            check_input(path, most=MOST_BYTES)
            table = json.loads(path.read_text(encoding="utf-8"))
            if table["format"] != FORMAT:
                if str(table["format"]).startswith(KIND):
                    raise BadInput(f"{directory} is a run of another version of tritstream "
                                   f"({table['format']}, not {FORMAT}): go on with that version, "
                                   "or start another run.")
                raise ValueError(table["format"])
            shape = table.get("shape")
            return cls(directory=directory, config=TrainConfig.from_json(table["settings"]),
                       digests=table["digests"], command=table["command"],
                       shape=shape and ModelConfig.from_json(shape))
        except BadInput:
            raise
        except OSError as error:
            raise BadInput(f"{directory} holds no run to resume: {path} cannot be read "
                           f"({error.strerror}).") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadInput(f"{path} does not describe a run ({error!r}): take another directory."
                           ) from error

    def agree(self, config: TrainConfig, digests: dict):
        """Take over the settings of a resumption, which may differ in how it is computed only.

        Raises
        ------
        BadInput
            Another setting differs, or the data do.
        """
        old, new = self.config.to_json(), config.to_json()
        for name in old.keys() - RUNTIME:
            same = (old[name] is None) == (new[name] is None) if name in TEXTS else \
                old[name] == new[name]
            if not same:
                raise BadInput(f"{self.directory} is a run with {name} = {old[name]!r}, not "
                               f"{new[name]!r}: leave the option out, or start another run.")
        for name, digest in digests.items():
            if digest != self.digests[name]:
                raise BadInput(f"The contents of {old[name]} have changed since the run in "
                               f"{self.directory} began: bring them back, or start another run.")
        self.config = config

    def check_own(self, state: State, path: Path):
        """Raise `BadInput` if a checkpoint is one of another run."""
        settings = self.config.to_json()
        for name in settings.keys() - RUNTIME - TEXTS:
            if state.settings.get(name) != settings[name]:
                raise BadInput(f"{path} is a checkpoint of another run, with {name} = "
                               f"{state.settings.get(name)!r}, not {settings[name]!r}: remove it.")

    @property
    def under_way(self) -> bool:
        """Whether a checkpoint has all that came of the weights that the run started from."""
        return self.shape is not None and latest(self.checkpoints) is not None

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from training the same run.

        Raises
        ------
        BadInput
            One does.
        """
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadInput(f"Another process is training the run in {self.directory}: wait for "
                               "its end, or give another directory.") from error
            yield
        finally:
            os.close(handle)

    def check_complete(self):
        """Raise `BadInput` unless all steps are done, and a model was exported."""
        records = Curve(self.curve).read()
        done = records[-1].step if records else 0
        if done != self.config.steps or not self.model.exists():
            raise BadInput(f"{self.directory} is at step {done} of {self.config.steps}: finish the "
                           "run with --resume first.")

    def create(self, tokenizer: bytes, again: bool):
        """Write the directory with its description and its `tokenizer.json`.

        Parameters
        ----------
        tokenizer : bytes
            Its contents.
        again : bool
            The run is resumed.

        Raises
        ------
        BadInput
            It cannot be written, or another run has begun there meanwhile.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"{self.directory} cannot be made: {error.strerror}.") from error
        if not again and (self.directory / "run.json").exists():
            raise BadInput(f"Another run has begun in {self.directory}: give another directory.")
        if not self.tokenizer.exists():
            write_whole(self.tokenizer, tokenizer)
        self.save()

    def save(self):
        """Write `run.json`."""
        table = {"format": FORMAT, "settings": self.config.to_json(), "digests": self.digests,
                 "command": self.command, "shape": self.shape and self.shape.to_json()}
        write_whole(self.directory / "run.json", (json.dumps(table, indent=1) + "\n").encode())

    @property
    def tokenizer(self) -> Path:
        """The run's `tokenizer.json`."""
        return self.directory / "tokenizer.json"

    @property
    def checkpoints(self) -> Path:
        """Directory of the checkpoints."""
        return self.directory / "checkpoints"

    @property
    def curve(self) -> Path:
        """The curve's CSV."""
        return self.directory / "losses.csv"

    @property
    def picture(self) -> Path:
        """The curve's picture."""
        return self.directory / "losses.png"

    @property
    def model(self) -> Path:
        """Directory of the exported model."""
        return self.directory / "model"
