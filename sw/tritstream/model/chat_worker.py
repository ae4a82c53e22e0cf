"""The process in which chat templates run: lines of JSON in, lines of JSON out.

It has Jinja's sandbox around the template and a bounded memory around Jinja. What computes for too
long is ended by a timer. It knows nothing of the model, and ends with the process that started it.
"""

import datetime
import json
import resource
import signal
import sys

MOST_MEMORY = 1 << 30       # bytes of addresses
MOST_TEXT = 8 << 20         # letters
COMPUTE_SECONDS = 2.0


class TooMuch(Exception):
    """A bound is reached."""


def main() -> None:
    """Answer requests until there are no more."""
    try:
        import jinja2
    except ImportError as error:
        _say({"missing": str(error)})
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C is the parent's
    signal.signal(signal.SIGPROF, _out_of_time)
    environment = _environment()
    _say({})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            signal.setitimer(signal.ITIMER_PROF, COMPUTE_SECONDS)
            try:
                answer = {"text": _rendered(environment, request)}
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError,
                AttributeError, RecursionError, MemoryError, TooMuch) as error:
            answer = {"error": " ".join(str(error).split())[:500] or type(error).__name__}
        _say(answer)


def _say(table: dict) -> None:
    sys.stdout.buffer.write(json.dumps(table).encode() + b"\n")
    sys.stdout.buffer.flush()


def _out_of_time(number: int, frame) -> None:
    raise TooMuch(f"it computes for more than {COMPUTE_SECONDS:g} s")


def _environment():
    """Return Jinja's sandbox with what `transformers` adds to it."""
    from jinja2 import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}`` marks what the model says, for training; here it means nothing."""

        tags = {"generation"}

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message):
        raise TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


def _rendered(environment, request: dict) -> str:
    template = environment.from_string(request["template"])
    parts, size = [], 0
    for part in template.generate(
            messages=request["messages"], add_generation_prompt=True, tools=None, documents=None,
            bos_token=request["bos_token"], eos_token=request["eos_token"]):
        parts.append(part)
        size += len(part)
        if size > MOST_TEXT:
            raise TooMuch(f"it writes more than {MOST_TEXT:,} letters")
    return "".join(parts)


if __name__ == "__main__":
    main()
