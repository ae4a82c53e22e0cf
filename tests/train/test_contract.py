"""The engine of a GPU, in Triton's interpreter, held to the contract of engines.

The interpreter takes a second for a token. The cases often take the same tokens from the same
state, so what each call made of them is remembered, and computed only once.
"""

import pytest
import torch

from tritstream.engines.golden import GoldenEngine
from tritstream_cuda import CudaEngine, CudaModel
from tritstream_cuda.lanes import Pass
from tritstream_sim.twin.engine_contract import CASES, SMALL, contract_model


def contents(*tensors):
    return tuple(tensor.numpy().tobytes() for tensor in tensors)


def remembered_kernels(known, kernels):
    """Passes of which each is computed once: what a lane gets depends on its state alone."""
    def call(self):
        inputs, states = self.inputs, self.states
        result = self.results[int(inputs["turns"][0])]
        places, kept = inputs["places"].long(), inputs["kept"].bool()
        sides = states.sides[places]
        key = (type(self), self.lanes, *contents(
            *(inputs[name] for name in ("tokens", "firsts", "kept", "stops")),
            states.memory[places, sides]))
        new = places[kept], 1 - sides[kept]
        if key not in known:
            kernels(self)
            known[key] = [tensor.clone() for tensor in (
                states.memory[new], inputs["tokens"], inputs["kept"], result, self.room.vectors)]
        else:
            states.sides[new[0]] = new[1]
            inputs["turns"] += 1
        (states.memory[new], inputs["tokens"][:], inputs["kept"][:], result[:],
         self.room.vectors[:]) = known[key]
    return call


def remembered_play(known, play):
    """The same for prompts."""
    def call(self, rows, states, place, *, head):
        own = int(place), int(states.sides[place])
        key = head, *contents(rows.tokens, states.memory[own])
        if key not in known:
            play(self, rows, states, place, head=head)
            known[key] = [tensor.clone() for tensor in (
                states.memory[own], rows.totals, rows.factors, *([rows.logits] if head else []))]
        states.memory[own], rows.totals[:], rows.factors[:], *logits = known[key]
        if head:
            rows.logits[:] = logits[0]
    return call


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pass, "kernels", remembered_kernels({}, Pass.kernels))
        patch.setattr(CudaModel, "play", remembered_play({}, CudaModel.play))
        yield contract_model(tmp_path_factory.mktemp("model"), SMALL)


@pytest.mark.parametrize("engine", ["cuda-interpreted"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract(case, engine, image):
    with CudaEngine(image, torch.device("cpu")) as opened, GoldenEngine(image) as twin:
        case(opened, twin)
