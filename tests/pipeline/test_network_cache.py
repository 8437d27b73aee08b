"""Other thresholds without a second look: --keep-network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import DEMO, make_experiment, tree

import bridge
from bridge.segmentation.cellpose3 import Cellpose3
from bridge.segmentation.segmenter import Segmenter
from bridge.synthetic import synthetic_field

SETTINGS: dict[str, Any] = {**DEMO, "engine": "native", "pictures": "none"}
OTHER: dict[str, Any] = {**SETTINGS, "flow_threshold": 0.1, "cellprob_threshold": 2.0, "min_size": 600}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes of the images that the network was shown."""
    seen: list[tuple[int, ...]] = []
    real = Cellpose3.predict

    def predict(self: Cellpose3, image: Any, *more: Any) -> Any:
        seen.append(image.shape)
        return real(self, image, *more)

    monkeypatch.setattr(Cellpose3, "predict", predict)
    return seen


def without_network(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(out).items() if not name.startswith("network/")}


def test_other_thresholds_need_no_second_look(tmp_path: Path, looks: list[tuple[int, ...]]) -> None:
    images = make_experiment(tmp_path / "images")
    out = tmp_path / "out"
    bridge.run(images, out, keep_network=True, **SETTINGS)
    assert len(looks) == len(list((out / "network").glob("*.npz"))) == 8  # cells and nuclei of four fields
    bridge.run(images, out, keep_network=True, update=True, **OTHER)
    assert len(looks) == 8
    bridge.run(images, tmp_path / "own", **OTHER)
    assert len(looks) == 16
    assert without_network(out) == tree(tmp_path / "own")
    assert not (tmp_path / "own" / "network").exists()
    # Another scale is another look; a damaged file, too.
    bridge.run(images, out, keep_network=True, update=True, **{**OTHER, "diameter": 40.0})
    assert len(looks) == 20
    for k, path in enumerate(sorted((out / "network").glob("*.npz"))):
        path.write_bytes(path.read_bytes()[: 100 * (k % 2)])
    bridge.run(images, out, keep_network=True, update=True, **OTHER)
    assert len(looks) == 24
    assert without_network(out) == tree(tmp_path / "own")
    freed = {each.name: each.files for each in bridge.clean(out, yes=True)}
    assert freed["network"] == 12
    assert not list((out / "network").glob("*.npz"))


def test_diameters_that_are_found_and_tiles(tmp_path: Path, looks: list[tuple[int, ...]]) -> None:
    image = synthetic_field(seed=3, size_px=700, n_cells=60).phase
    kept, plain = Segmenter("demo", "cpu", keep=tmp_path), Segmenter("demo", "cpu")
    for options in ({"diameter": "auto"}, {"diameter": 37.0, "tile": 512}, {"diameter": 37.0, "flow_threshold": 0.2}):
        expected = plain.segment(image, **options).labels
        np.testing.assert_array_equal(kept.segment(image, **options).labels, expected)
        looks.clear()
        np.testing.assert_array_equal(kept.segment(image, **options).labels, expected)
        assert looks == []


def test_cells_in_doubt_are_still_looked_at_exactly(tmp_path: Path, looks: list[tuple[int, ...]]) -> None:
    image = synthetic_field(seed=5, size_px=512, n_cells=50).phase
    fast = Segmenter("demo", "cpu", "auto", "fast")
    if "bf16" not in str(fast.info["inference"]):
        pytest.skip("this processor has no bfloat16")
    kept = Segmenter("demo", "cpu", "auto", "fast", tmp_path)
    for threshold in (0.4, 0.3, 0.2, 0.1):
        expected = fast.segment(image, 37.0, threshold)
        for _ in range(2):
            np.testing.assert_array_equal(kept.segment(image, 37.0, threshold).labels, expected.labels)
