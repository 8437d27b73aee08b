"""The network computed by OpenVINO, or by torch tile by tile: Cellpose's own masks, and what happens where it cannot be."""

from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cellpose import models

from bridge.segmentation import inference
from bridge.segmentation.backend import planned
from bridge.segmentation.models import resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=31, size_px=420, n_cells=40)


def by_cellpose(name: str, image: np.ndarray, diameter: float) -> np.ndarray:
    """Cellpose's own eval with its own network, without what the program leaves in on purpose: small and large cells."""
    backend = Segmenter(name, "cpu", "torch")._backend
    assert backend.net is not None  # from now on computed as Cellpose does
    labels: np.ndarray = backend._model.eval(  # type: ignore[attr-defined]
        image.astype(np.float32), channels=[0, 0], diameter=diameter, min_size=-1
    )[0]
    return labels


@pytest.mark.parametrize("how", ["openvino", "torch"])
def test_the_masks_are_cellposes(how: str) -> None:
    segmenter = Segmenter(replace(resolve_model("demo"), pad_px=0), "cpu", how)  # type: ignore[arg-type]
    assert segmenter.info["inference"].startswith(how)
    expected = by_cellpose("demo", FIELD.phase, 37.0)
    found = segmenter.segment(FIELD.phase, 37.0, min_size=0)
    np.testing.assert_array_equal(found.labels, expected)
    assert found.labels.max() > 30


@pytest.mark.slow
def test_real_weights_and_both_ways(cyto_0: Segmenter) -> None:
    found = {
        how: Segmenter("cyto_0", "cpu", how).segment(FIELD.phase, 30.0, min_size=0)  # type: ignore[arg-type]
        for how in ("openvino", "torch")
    }
    np.testing.assert_array_equal(found["openvino"].labels, found["torch"].labels)
    assert found["torch"].dropped == found["openvino"].dropped
    model = models.CellposeModel(device=torch.device("cpu"), pretrained_model=str(cyto_0.model.path))
    expected = model.eval(FIELD.phase.astype(np.float32), channels=[0, 0], diameter=30.0, min_size=-1)[0]
    np.testing.assert_array_equal(found["torch"].labels, expected)


def test_fast_finds_the_same_cells() -> None:
    exact, fast = (
        Segmenter("demo", "cpu", "auto", p).segment(FIELD.phase, 37.0).labels  # type: ignore[arg-type]
        for p in ("exact", "fast")
    )
    assert fast.max() == exact.max()
    assert np.mean((fast > 0) != (exact > 0)) < 0.01


def test_two_planes_and_styles() -> None:
    both = [Segmenter("demo", "cpu", how) for how in ("openvino", "torch")]  # type: ignore[arg-type]
    planes = np.stack([FIELD.phase, FIELD.topro]).astype(np.float32)
    np.testing.assert_array_equal(*(s.segment(planes, 37.0).labels for s in both))
    styles = [s._backend.style(FIELD.phase) for s in both]
    np.testing.assert_allclose(*styles, atol=1e-4)


def test_the_converted_network_is_kept_and_made_again_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "cache_folder", lambda: tmp_path)
    expected = Segmenter("demo", "cpu", "openvino").segment(FIELD.phase, 37.0).labels
    (network,) = tmp_path.glob("openvino/*/network.xml")
    assert [path.name for path in (tmp_path / "openvino").iterdir()] == [network.parent.name]
    monkeypatch.setattr(inference, "_converted", lambda _: pytest.fail("it is kept"))
    np.testing.assert_array_equal(Segmenter("demo", "cpu", "openvino").segment(FIELD.phase, 37.0).labels, expected)
    monkeypatch.undo()
    monkeypatch.setattr(inference, "cache_folder", lambda: tmp_path)
    network.write_bytes(network.read_bytes()[:999])
    again = Segmenter("demo", "cpu", "openvino")
    assert again.info["inference"].startswith("openvino")
    np.testing.assert_array_equal(again.segment(FIELD.phase, 37.0).labels, expected)
    assert network.stat().st_size > 999


def test_nobody_is_told_of_it() -> None:
    """OpenVINO sends word of each conversion to its makers, unless their module is not there."""
    code = """
import sys, pathlib, tempfile
from bridge.segmentation import inference
inference.cache_folder = lambda: pathlib.Path(tempfile.mkdtemp())
from bridge.segmentation.segmenter import Segmenter
assert Segmenter("demo", "cpu", "openvino").info["inference"].startswith("openvino")
import openvino.tools.ovc.convert_impl as convert
print(sys.modules["openvino_telemetry"], convert.tm.__name__)
"""
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["None", "openvino.tools.ovc.telemetry_stub"]


def test_torch_does_it_where_openvino_cannot(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with caplog.at_level(logging.WARNING):
        segmenter = Segmenter("demo", "cpu", "openvino")
    assert segmenter.info["inference"] == "torch"
    assert "demo: OpenVINO cannot compute this network (" in caplog.text
    assert caplog.text.rstrip().endswith("); torch does")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert Segmenter("demo", "cpu").info["inference"] == "torch"
    assert not caplog.text  # nobody asked for OpenVINO


def test_what_a_record_says() -> None:
    assert planned("torch") == "torch"
    assert planned("auto").startswith("openvino ")


def test_a_network_that_two_threads_use_answers_each() -> None:
    """OpenVINO's queue has one callback at a time: a full card's fields, and a second look, come from several threads."""
    segmenter = Segmenter("demo", "cpu", "openvino")
    images = [synthetic_field(seed=k, size_px=200, n_cells=8).phase.astype(np.float32) for k in range(4)]
    expected = [segmenter._backend.predict(image, 37.0, 8, True).flows for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: segmenter._backend.predict(images[k % 4], 37.0, 8, True).flows, range(40)))
    for k, flows in enumerate(found):
        np.testing.assert_array_equal(flows, expected[k % 4])
