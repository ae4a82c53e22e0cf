"""Toolchains that make bitstreams."""

import dataclasses

__all__ = ["APICULA", "ICESTORM", "TRELLIS", "Toolchain"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toolchain:
    """Programs, and the files that go from one to the next.

    Parameters
    ----------
    name : str
        As users read it.
    tools : tuple of str
        Plain names in a build plan: what synthesises, what places and routes, what packs.
    routed : str
        How the name of the file ends that is packed: what was placed and routed.
    products : tuple of str
        The same of what is made of that, the bitstream first.
    """

    name: str
    tools: tuple[str, str, str]
    routed: str
    products: tuple[str, ...]

    @property
    def bitstream(self) -> str:
        """How the name of a bitstream ends."""
        return self.products[0]


TRELLIS = Toolchain(name="Trellis (YoWASP)", tools=("yosys", "nextpnr-ecp5", "ecppack"),
                    routed="config", products=("bit", "svf"))
"""For ECP5."""

APICULA = Toolchain(name="Apicula (YoWASP)",
                    tools=("yosys", "nextpnr-himbaechel-gowin", "gowin_pack"),
                    routed="json", products=("fs",))
"""For Gowin."""

ICESTORM = Toolchain(name="IceStorm (YoWASP)", tools=("yosys", "nextpnr-ice40", "icepack"),
                     routed="asc", products=("bin",))
"""For iCE40."""
