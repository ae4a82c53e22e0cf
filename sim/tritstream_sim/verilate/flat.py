"""Components as tops of a simulation, whatever their interfaces are."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["Flat"]


class Flat(wiring.Component):
    """Components side by side, every member of their interfaces a port of its own.

    Serves what cannot be the top itself: a stream that is always ready has a constant where the top
    would need a port.

    Parameters
    ----------
    components : dict
        Components by name. Member ``o.payload`` of the one called ``mixer`` is the port
        ``mixer__o__payload``, in an order that is that of the signature.
    """

    def __init__(self, components: dict[str, wiring.Component]):
        self.components = components
        self._inner = {f"{name}__{'__'.join(map(str, path))}": (member, value)
                       for name, component in components.items()
                       for path, member, value in component.signature.flatten(component)
                       if not isinstance(value, Const)}
        super().__init__({name: wiring.Member(member.flow, member.shape)
                          for name, (member, _) in self._inner.items()})

    def elaborate(self, platform):
        m = Module()
        for name, component in self.components.items():
            m.submodules[name] = component
        for name, (member, inner) in self._inner.items():
            outer = getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m
