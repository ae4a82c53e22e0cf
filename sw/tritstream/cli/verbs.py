"""The verbs of this package; each is imported when it is called, so that others need not wait."""

from collections.abc import Callable

from tritstream.cli.plugins import Verb

__all__ = ["VERBS"]


def _doctor() -> Callable:
    from tritstream.cli.doctor import doctor

    return doctor


def _boards() -> Callable:
    from tritstream.cli.boards import boards

    return boards


def _build() -> Callable:
    from tritstream.cli.build import build

    return build


def _program() -> Callable:
    from tritstream.cli.program import program

    return program


def _devices() -> Callable:
    from tritstream.cli.devices import devices

    return devices


def _pack() -> Callable:
    from tritstream.cli.pack import pack

    return pack


def _inspect() -> Callable:
    from tritstream.cli.inspect import inspect

    return inspect


def _generate() -> Callable:
    from tritstream.cli.generate import generate

    return generate


def _logits() -> Callable:
    from tritstream.cli.logits import logits

    return logits


def _eval() -> Callable:
    from tritstream.cli.evaluate import evaluate_text

    return evaluate_text


def _verify() -> Callable:
    from tritstream.cli.verify import verify_device

    return verify_device


def _selftest() -> Callable:
    from tritstream.cli.selftest import selftest

    return selftest


def _chat() -> Callable:
    from tritstream.cli.chat import chat

    return chat


def _serve() -> Callable:
    from tritstream.cli.serve import serve

    return serve


def _estimate() -> Callable:
    from tritstream.cli.estimate import estimate_model

    return estimate_model


def _profile() -> Callable:
    from tritstream.cli.profile import profile_token

    return profile_token


def _bench() -> Callable:
    from tritstream.cli.bench import bench

    return bench


VERBS = {
    "doctor": Verb(_doctor, "Check Python, simulators, tools and ports; say what mends them."),
    "boards": Verb(_boards, "List the boards for which a bitstream can be built."),
    "build": Verb(_build, "Synthesise, place and route a board's bitstream."),
    "program": Verb(_program, "Load a bitstream onto the board that is plugged in, or store a "
                              "model in its flash memory."),
    "devices": Verb(_devices, "List serial ports, and what is behind them."),
    "pack": Verb(_pack, "Pack a checkpoint into an image, 1.6 bits per weight."),
    "inspect": Verb(_inspect, "Show fitting boards, shapes, scales, zeros, sizes and digest."),
    "generate": Verb(_generate, "Go on from a prompt; the text appears as it is made."),
    "chat": Verb(_chat, "Talk with a model, or let it go on with a text in turns."),
    "serve": Verb(_serve, "Serve models to clients of OpenAI's interface, and on a page."),
    "logits": Verb(_logits, "Write all logits after each of some tokens to a NumPy file."),
    "eval": Verb(_eval, "Score a model on a text, in bits per byte."),
    "verify": Verb(_verify, "Compare every stage of every token with the golden model."),
    "selftest": Verb(_selftest, "Test a board: its link, a token, its clock and its memory."),
    "estimate": Verb(_estimate, "Estimate cycles, tokens per second and what limits them."),
    "profile": Verb(_profile, "Show where the cycles of a prompt's last token go, by stage."),
    "bench": Verb(_bench, "Measure the speed of prompts (pp) and of generation (tg)."),
}
"""What a user can ask for, besides the verbs of other packages."""
