"""A device whose whole control, link and arithmetic is a program: `Core` with that."""

import dataclasses

from tritstream.build import BuildConfig
from tritstream.errors import BadInput
from tritstream.link.messages import Identity
from tritstream_hw.micro.compiler import Program, compile_program
from tritstream_hw.micro.core import Core
from tritstream_hw.micro.language import Table
from tritstream_hw.micro.program import commands
from tritstream_hw.micro.program.layout import LIMITS

__all__ = ["LIMITS", "MicroDevice", "program_of"]


def program_of(config: BuildConfig, build_id: bytes) -> Program:
    """Return the program of a build.

    Parameters
    ----------
    config : BuildConfig
        Clock, link and its timers; all else is that of `LIMITS`.
    build_id : bytes
        Eight bytes by which the driver knows the build again.

    Raises
    ------
    BadInput
        The build is another one.
    """
    free = ("clock_hz", "link_rate", "ack_cycles", "retry_cycles")
    known = dataclasses.replace(LIMITS, **{name: getattr(config, name) for name in free})
    if config != known:
        wrong = [field.name for field in dataclasses.fields(config)
                 if getattr(config, field.name) != getattr(known, field.name)]
        raise BadInput(f"The small build has {wrong[0]} = {getattr(known, wrong[0])}, not "
                       f"{getattr(config, wrong[0])}: only its clock can be chosen.")
    identity = Identity.of(config, build_id).pack()
    padded = identity + bytes(len(identity) % 2)
    return compile_program(commands.main, constants={
        "commands.IDENTITY": Table(int.from_bytes(padded[n:n + 2], "little")
                                   for n in range(0, len(padded), 2)),
        "commands.IDENTITY_BYTES": len(identity),
        "link.ACK_CYCLES": config.ack_cycles,
        "link.RETRY_CYCLES": config.retry_cycles,
    })


class MicroDevice(Core):
    """What `BareDevice` is to other boards: streams of bytes, and all that answers them.

    Parameters
    ----------
    config : BuildConfig
        What to build, see `program_of`.
    build_id : bytes
        Eight bytes by which the driver knows the build again.
    """

    def __init__(self, config: BuildConfig, build_id: bytes):
        program = program_of(config, build_id)
        super().__init__(program.words, program.slots)
