"""The command line: verbs, and how errors leave it."""

import functools
import importlib.metadata
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.text import Text

from tritstream.cli.bench import bench
from tritstream.cli.boards import boards
from tritstream.cli.build import build
from tritstream.cli.console import notes, output
from tritstream.cli.doctor import doctor
from tritstream.cli.evaluate import evaluate_text
from tritstream.cli.generate import INTERRUPTED, generate
from tritstream.cli.inspect import inspect
from tritstream.cli.logits import logits
from tritstream.cli.pack import pack
from tritstream.cli.train import train
from tritstream.cli.verify import verify_device
from tritstream.errors import TritstreamError

__all__ = ["app", "main", "run"]

USAGE = 2
PIPE = -1                   # nobody reads the output any more
INTERNAL = 70               # sysexits.h: the program itself is wrong

# What typer raises for a wrong command line; it names the class only by its descendants.
_UsageError = typer.BadParameter.__mro__[2]

app = typer.Typer(name="tritstream", add_completion=False,
                  rich_markup_mode=None, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]})


def _version(asked: bool) -> None:
    if asked:
        output().print(f"tritstream {importlib.metadata.version('tritstream')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option(
        "--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    debug: Annotated[bool, typer.Option(
        "--debug", help="Show the traceback of an error; anywhere on the line.")] = False,
):
    """MatMul-free language models on FPGAs."""


def _heard(verb: Callable) -> Callable:
    """Return a verb that ends with a code where typer would end the program without a word."""
    @functools.wraps(verb)
    def heard(*arguments, **options):
        try:
            return verb(*arguments, **options)
        except KeyboardInterrupt:
            notes().print("interrupted")
            return INTERRUPTED
        except BrokenPipeError:
            return PIPE
    return heard


for _name, _verb in {
    "doctor": doctor, "boards": boards, "build": build, "pack": pack, "inspect": inspect,
    "generate": generate, "logits": logits, "eval": evaluate_text, "verify": verify_device,
    "bench": bench, "train": train,
}.items():
    app.command(_name)(_heard(_verb))


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say, and return the exit code; errors are one sentence."""
    arguments = list(arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        code = app(arguments or ["--help"], standalone_mode=False) or 0
        if code == PIPE:
            raise BrokenPipeError
        sys.stdout.flush()              # here, where an error can still be told
        return code
    except TritstreamError as error:
        return _failed(error, str(error), error.exit_code, debug)
    except _UsageError as error:
        return _failed(error, error.format_message(), USAGE, debug)
    except (KeyboardInterrupt, typer.Abort):
        notes().print("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None               # nobody reads any more, and nothing is left to flush
        return 0
    except OSError as error:
        sys.stdout = None if error.filename is None else sys.stdout
        sentence = (f"{error.filename or 'The output'} cannot be used: {error.strerror or error}; "
                    "make room, or give another place.")
        return _failed(error, sentence, USAGE, debug)
    except Exception as error:
        return _failed(error, f"This is a fault of the program ({type(error).__name__}: {error}); "
                       "repeat with --debug, and report what it shows.", INTERNAL, debug)


def main() -> None:
    """Entry point of the `tritstream` program."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")    # a terminal without a letter gets a question mark
    sys.exit(run(sys.argv[1:]))


def _failed(error: Exception, sentence: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    # In one piece: several processes may write to the same place.
    notes().print(Text.assemble(("error: ", "bold red"), " ".join(sentence.split())))
    return code
