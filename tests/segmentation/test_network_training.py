"""Training a network: what an estimate leaves as it was, and what bfloat16 changes."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
import torch

from bridge.segmentation import network_training
from bridge.segmentation.memory_pages import kept_pages
from bridge.segmentation.network_training import Training
from bridge.segmentation.recipe import Recipe
from bridge.segmentation.segmenter import Segmenter
from bridge.synthetic import synthetic_field

FIELDS = [synthetic_field(seed=k, size_px=128, n_cells=6) for k in range(2)]


def a_training(precision: str = "exact") -> Training:
    segmenter = Segmenter("demo", device="cpu")
    recipe = Recipe("sgd", (0.0, 0.005, 0.01), 1e-4, 2, 96, 4, precision=precision)  # type: ignore[arg-type]
    return segmenter.training([f.phase for f in FIELDS], [segmenter.targets(f.cells) for f in FIELDS], [37.0] * 2, recipe)  # fmt: skip


def weights(training: Training) -> np.ndarray:
    return np.concatenate([v.detach().numpy().ravel() for v in training._net.state_dict().values()]).astype(np.float64)


def trained(precision: str = "exact") -> np.ndarray:
    training = a_training(precision)
    for _ in range(3):
        training.run_epoch()
    return weights(training)


def test_an_estimate_and_kept_pages_change_no_weight() -> None:
    training = a_training()
    before, drawn = weights(training), np.random.get_state()[1].copy()  # noqa: NPY002
    assert training.seconds_per_epoch() > 0
    np.testing.assert_array_equal(weights(training), before)
    np.testing.assert_array_equal(np.random.get_state()[1], drawn)  # noqa: NPY002
    assert not training._net.training
    with kept_pages() as kept:
        assert kept == sys.platform.startswith("linux")
        for _ in range(3):
            training.run_epoch()
    np.testing.assert_array_equal(weights(training), trained())
    assert not np.array_equal(weights(training), before)


def test_fast_goes_nearly_the_same_way() -> None:
    if not network_training._has_bfloat16("cpu"):
        pytest.skip("this processor has no bfloat16")
    before, exact, fast = weights(a_training()), trained(), trained("fast")
    apart = np.linalg.norm(fast - exact) / np.linalg.norm(exact - before)
    assert 0 < apart < 0.1


def test_fast_without_bfloat16_is_exact(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(network_training, "_has_bfloat16", lambda _device: False)
    with caplog.at_level(logging.WARNING):
        found = trained("fast")
    np.testing.assert_array_equal(found, trained())
    said = "--precision fast: this device has no fast bfloat16; the training is exact, and no faster"
    assert [r.message for r in caplog.records] == [said]
    assert torch.is_grad_enabled()
