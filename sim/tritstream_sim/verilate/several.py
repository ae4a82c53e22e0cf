"""Several components side by side, so that a bench of many sizes needs one build."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["Several"]


class Several(wiring.Component):
    """Components that have nothing in common but clock and reset.

    Parameters
    ----------
    components : dict
        Components by name. Port ``o`` of the one called ``p4`` is ``p4__o``.
    """

    def __init__(self, components: dict[str, wiring.Component]):
        self.components = components
        super().__init__({name: Out(one.signature) for name, one in components.items()})

    def elaborate(self, platform):
        m = Module()
        for name, component in self.components.items():
            m.submodules[name] = component
            wiring.connect(m, component, wiring.flipped(getattr(self, name)))
        return m
