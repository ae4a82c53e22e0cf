"""A block between registers, reached through shift registers, to be synthesised alone."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Harness"]

CHAIN = 256                 # bits; Yosys compiled to WebAssembly fails on chains of thousands


class Harness(wiring.Component):
    """Registers at every port of a component, so that pins limit neither its size nor its speed.

    Inputs come from shift registers: a flip-flop per bit. Outputs are registered, then folded into
    a shift register: two flip-flops and a LUT per bit.

    Parameters
    ----------
    component : wiring.Component
        The block.

    Members
    -------
    i, o : :py:`In(n)`, :py:`Out(m)`
        Heads and tails of the shift registers.
    """

    def __init__(self, component: wiring.Component):
        self._component = component
        ports = [(member.flow, Value.cast(signal))
                 for _, member, signal in component.signature.flatten(component)
                 if not isinstance(Value.cast(signal), Const)]      # `ready` that always is
        self._inputs = [signal for flow, signal in ports if flow is In]
        self._outputs = [signal for flow, signal in ports if flow is Out]
        self.input_bits = sum(map(len, self._inputs))
        self.output_bits = sum(map(len, self._outputs))
        super().__init__({"i": In(_chains(self.input_bits)), "o": Out(_chains(self.output_bits))})

    @property
    def luts(self) -> int:
        """LUTs of the harness itself."""
        return self.output_bits

    @property
    def flip_flops(self) -> int:
        """Flip-flops of the harness itself."""
        return self.input_bits + 2 * self.output_bits

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = self._component
        stimulus = Signal(self.input_bits, reset_less=True)
        for n, start in enumerate(range(0, self.input_bits, CHAIN)):
            chain = stimulus[start:start + CHAIN]
            m.d.sync += chain.eq(Cat(self.i[n], chain))
        m.d.comb += Cat(*self._inputs).eq(stimulus)

        result = Signal(self.output_bits, reset_less=True)
        folded = Signal(self.output_bits, reset_less=True)
        m.d.sync += result.eq(Cat(*self._outputs))
        for n, start in enumerate(range(0, self.output_bits, CHAIN)):
            chain, news = folded[start:start + CHAIN], result[start:start + CHAIN]
            m.d.sync += chain.eq(Cat(C(0, 1), chain) ^ news)
            m.d.comb += self.o[n].eq(chain[-1])
        return m


def _chains(bits: int) -> int:
    return -(-bits // CHAIN)
