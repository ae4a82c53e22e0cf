"""The command line: verbs, and how errors leave it."""

import contextlib
import functools
import importlib.metadata
import inspect
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import typer

from tritstream.cli.plugins import plugin_verbs
from tritstream.cli.verbs import VERBS
from tritstream.errors import INTERRUPTED, TritstreamError, TritstreamWarning

__all__ = ["run"]

USAGE = 2
PIPE = -1                   # nobody reads the output any more
LONGEST = 2000              # letters of an error
LONGEST_USAGE = 300         # of one about a wrong word, which some releases of typer repeat whole
INTERNAL = 70               # sysexits.h: the program itself is wrong

# What typer raises for a wrong command line; it names the class only by its descendants.
_UsageError = typer.BadParameter.__mro__[2]


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def run(arguments: Sequence[str], loaded: Callable[[], object] = lambda: None) -> int:
    """Do what the arguments say, and return the exit code; errors are one sentence.

    `loaded` is called right before the verb, when all that the command line imports is there.
    """
    try:
        with _warnings_told():
            application = _application(arguments, loaded)
            code = application(list(arguments) or ["--help"], standalone_mode=False,
                               prog_name="tritstream") or 0
        if code == PIPE:
            raise BrokenPipeError
        sys.stdout.flush()              # here, where an error can still be told
        return code
    except TritstreamError as error:
        return _failed(str(error), error.exit_code)
    except _UsageError as error:
        return _failed(error.format_message(), USAGE, LONGEST_USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except (BrokenPipeError, SystemExit):       # the latter is what typer makes of it in a help
        sys.stdout = None               # nobody reads any more, and nothing is left to flush
        return 0
    except OSError as error:
        sys.stdout = None if error.filename is None else sys.stdout
        return _failed(f"{error.filename or 'The output'} cannot be used: "
                       f"{error.strerror or error}; make room, or give another place.", USAGE)
    except Exception as error:
        return _failed(f"This is a fault of the program ({type(error).__name__}: {error}); "
                       "repeat with --debug, and report what it shows.", INTERNAL)


@contextlib.contextmanager
def _warnings_told() -> Iterator[None]:
    """Say each of the program's own warnings once, as a sentence."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell(message, category, *where, **more):
            if issubclass(category, TritstreamWarning):
                from tritstream.cli.console import notes

                notes().print(f"warning: {message}")
            else:
                show(message, category, *where, **more)

        warnings.showwarning = tell
        warnings.simplefilter("once", TritstreamWarning)
        yield


def _application(arguments: Sequence[str], loaded: Callable[[], object]) -> typer.Typer:
    """All verbs; only the one that is asked for can be called."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
                      context_settings={"help_option_names": ["-h", "--help"]})
    tracing = []                        # tells the verb what the program was told

    @app.callback()
    def options(
        version: Annotated[bool, typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version.")] = False,
        debug: Debug = False,
    ):
        """MatMul-free language models on FPGAs."""
        tracing.extend([True] * debug)

    asked = next((word for word in arguments if not word.startswith("-")), None)
    for name, verb in (VERBS | plugin_verbs()).items():
        if name == asked:
            # What cannot be imported says so, whatever its options would be.
            free = {"ignore_unknown_options": True, "allow_extra_args": True}
            function = verb.load()
            takes_all = "words" in inspect.signature(function).parameters
            app.command(name, context_settings=free if takes_all else None)(
                _heard(function, tracing, loaded))
        else:
            app.command(name, help=verb.help)(lambda: None)
    return app


def _heard(verb: Callable, tracing: list, loaded: Callable[[], object]) -> Callable:
    """Return a verb that ends with a code where typer would end the program without a word.

    It has the option ``--debug`` as well, and with it shows the traceback of what it raises.
    """
    @functools.wraps(verb)
    def heard(*arguments, debug: bool, **options):
        try:
            loaded()
            return verb(*arguments, **options)
        except KeyboardInterrupt:
            return _interrupted()
        except BrokenPipeError:
            return PIPE
        except (typer.Exit, typer.Abort):
            raise
        except Exception:
            if debug or tracing:
                traceback.print_exc()
            raise

    signature = inspect.signature(verb)
    option = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False,
                               annotation=Debug)
    heard.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])
    heard.__annotations__ = {**verb.__annotations__, "debug": Debug}
    return heard


def _version(asked: bool) -> None:
    if asked:
        print(f"tritstream {importlib.metadata.version('tritstream')}")
        raise typer.Exit


def _interrupted() -> int:
    _note("interrupted")
    return INTERRUPTED


def _failed(sentence: str, code: int, longest: int = LONGEST) -> int:
    sentence = " ".join(sentence.split())
    if len(sentence) > longest:         # of what somebody gave, the beginning is enough
        sentence = f"{sentence[:longest // 2]} … {sentence[-longest // 2:]}"
    _note(sentence, failed=True)
    return code


def _note(sentence: str, failed: bool = False) -> None:
    from rich.text import Text

    from tritstream.cli.console import notes

    # In one piece: several processes may write to the same place.
    notes().print(Text.assemble(("error: " if failed else "", "bold red"), sentence))
