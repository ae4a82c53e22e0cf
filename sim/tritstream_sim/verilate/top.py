"""The top of a simulation: one component or several, whatever their interfaces are."""

import types

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream_sim.agents.contract import stands

__all__ = ["Top"]


class Top(wiring.Component):
    """Components side by side, every member of their interfaces a port of its own.

    Several need one build then. A stream that is always ready has no port for that. The others are
    watched: an offer stands until it is taken.

    Parameters
    ----------
    components : wiring.Component or dict
        One, or several by name. Member ``o.payload`` is the port ``o__payload``, and that of the
        one called ``mixer`` is ``mixer__o__payload``.

    Members
    -------
    offer_broken : :py:`Out(1)`
        An offer was withdrawn or changed since the reset; stays.
    o__broken : :py:`Out(1)`
        It was one of the stream ``o``; such a port for each stream.
    """

    def __init__(self, components: wiring.Component | dict[str, wiring.Component]):
        several = isinstance(components, dict)
        self._components = components if several else {"dut": components}
        self._inner = {
            "__".join(map(str, (name, *path) if several else path)): (member, value)
            for name, component in self._components.items()
            for path, member, value in component.signature.flatten(component)
            if not isinstance(value, Const)}
        self._streams = [name.removesuffix("__ready") for name in self._inner
                         if name.endswith("__ready")]
        super().__init__({
            **{name: wiring.Member(member.flow, member.shape)
               for name, (member, _) in self._inner.items()},
            **{f"{name}__broken": Out(1) for name in self._streams},
            "offer_broken": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        for name, component in self._components.items():
            m.submodules[name] = component
        for name, (member, inner) in self._inner.items():
            outer = getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        for name in self._streams:
            stream = types.SimpleNamespace(**{
                part: getattr(self, f"{name}__{part}") for part in ("payload", "valid", "ready")})
            broken = getattr(self, f"{name}__broken")
            m.d.sync += broken.eq(broken | ~stands(m, stream))
        m.d.comb += self.offer_broken.eq(
            Cat(getattr(self, f"{name}__broken") for name in self._streams).any())
        return m
