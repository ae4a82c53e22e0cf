"""The engine of a GPU, in Triton's interpreter, held to the contract of engines.

The interpreter takes a second for a token. The cases often take the same tokens from the same
state, so what each call made of them is remembered, and computed only once.
"""

import functools

import pytest
import torch

from tritstream.engines.golden import GoldenEngine
from tritstream_cuda import Conversations, CudaEngine
from tritstream_sim.twin.engine_contract import CASES, SMALL, contract_model


def remembered(method):
    """A method of `Conversations` that computes only what it has not computed before."""
    known = {}

    @functools.wraps(method)
    def call(talk, *arguments):
        key = talk.state.numpy().tobytes(), tuple(talk.digests), repr(arguments)
        if key not in known:
            found = method(talk, *arguments)
            found = found if isinstance(found, list | torch.Tensor) else list(found)
            known[key] = found, talk.state.clone(), talk.digests
        found, state, digests = known[key]
        talk.state.copy_(state)
        talk.digests = list(digests)
        return found

    return call


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("feed", "run", "logits", "vectors"):
            patch.setattr(Conversations, name, remembered(getattr(Conversations, name)))
        yield contract_model(tmp_path_factory.mktemp("model"), SMALL)


@pytest.mark.parametrize("engine", ["cuda-interpreted"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract(case, engine, image):
    with CudaEngine(image, torch.device("cpu")) as opened, GoldenEngine(image) as twin:
        case(opened, twin)
