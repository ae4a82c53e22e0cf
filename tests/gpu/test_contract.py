"""The engine of a GPU held to the contract of engines."""

import pytest

from tritstream.catalog import Model
from tritstream.engines import open_engine
from tritstream_sim.twin.engine_contract import CASES, contract_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model("contract", contract_model(tmp_path_factory.mktemp("model")).path)


@pytest.mark.parametrize("engine", ["cuda"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract(case, engine, model):
    with open_engine(engine, model) as opened, open_engine("golden", model) as twin:
        case(opened, twin)
