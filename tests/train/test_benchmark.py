"""The training benchmark, as far as it goes without a GPU."""

import pytest
import torch

from tritstream.dummy import PRESETS
from tritstream_train import benchmark


def test_without_a_gpu_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert benchmark.main(["--models", "7M"]) == 4
    assert capsys.readouterr().err.splitlines() == [
        "The training benchmark needs a CUDA device, but PyTorch finds none."]


@pytest.mark.parametrize("model, millions", [("370M", 341.0), ("1.3B", 1298.7)])
def test_every_token_meets_every_ternary_weight(model, millions):
    assert benchmark.product_weights(PRESETS[model]) / 1e6 == pytest.approx(millions, abs=0.1)
