"""A network that is watched: the same masks, told how far it is, stopped between two batches of tiles."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.errors import StoppedError
from bridge.segmentation.segmenter import Segmenter
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=2, size_px=400, n_cells=12)


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["torch", "openvino"])
@pytest.mark.parametrize(("diameter", "tile"), [(20.0, 4096), ("auto", 4096), (20.0, 320)])
def test_the_masks_are_the_same_and_progress_goes_from_0_to_1(inference: str, diameter: float | str, tile: int) -> None:
    segmenter = Segmenter("demo", "cpu", inference)
    told: list[float] = []
    watched = segmenter.segment(FIELD.phase, diameter, tile=tile, progress=told.append, stop=lambda: False)
    assert np.array_equal(watched.labels, segmenter.segment(FIELD.phase, diameter, tile=tile).labels)
    assert np.all(np.diff(told) > -1e-12)
    assert told[0] == 0.0
    assert told[-1] == 1.0
    assert len(set(told)) > 3


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["torch", "openvino"])
def test_it_stops_between_tiles_and_works_again(inference: str) -> None:
    segmenter = Segmenter("demo", "cpu", inference)
    told: list[float] = []
    with pytest.raises(StoppedError):
        segmenter.segment(FIELD.phase, 15, progress=told.append, stop=lambda: len(told) > 2)
    assert len(told) == 3
    assert 0 < told[-1] < 1
    again = segmenter.segment(FIELD.phase, 15).labels
    assert np.array_equal(again, Segmenter("demo", "cpu", inference).segment(FIELD.phase, 15).labels)
