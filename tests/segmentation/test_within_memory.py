"""A card that is too small: the real network on the processor, behind what says that memory is full as torch does."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from bridge.errors import SegmentationError
from bridge.segmentation.models import resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.segmentation.watch import Watch
from bridge.segmentation.within_memory import WithinMemory
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=4, size_px=256, n_cells=15)


class Card:
    """The demo network, as on a card with room for so many tiles, and for so many pixels' masks."""

    device = "cuda"

    def __init__(self, tiles: int, masks: bool = True) -> None:
        self._own, self._tiles, self._masks = Segmenter("demo", "cpu", "torch")._backend, tiles, masks
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def predict(self, image: Any, diameter_px: Any, batch_size: int, normalize: bool, watch: Watch) -> Any:
        self.asked.append(batch_size)
        if batch_size > self._tiles:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self._own.predict(image, diameter_px, batch_size, normalize, watch)

    def masks(self, *given: Any) -> Any:
        if not self._masks:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self._own.masks(*given)


def on(card: Card) -> Segmenter:
    segmenter = Segmenter("demo", "cpu", "torch")
    segmenter._backend = WithinMemory(card, lambda: Segmenter("demo", "cpu", "torch")._backend)  # type: ignore[assignment,arg-type]
    return segmenter


EXPECTED = Segmenter("demo", "cpu", "torch").segment(FIELD.phase).labels


@pytest.fixture(autouse=True)
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


def test_a_smaller_batch_is_found_once(caplog: pytest.LogCaptureFixture) -> None:
    card = Card(2)
    segmenter = on(card)
    with caplog.at_level(logging.WARNING):
        found = segmenter.segment(FIELD.phase).labels
        segmenter.segment(FIELD.phase)
    np.testing.assert_array_equal(found, EXPECTED)
    assert card.asked == [8, 4, 2, 2]
    assert [r.message for r in caplog.records] == [
        "cuda: out of memory with 8 tiles at once; tries 4",
        "cuda: out of memory with 4 tiles at once; tries 2",
    ]
    assert (segmenter.info["device"], segmenter.info["inference"]) == ("cuda", "torch, 2 tiles at once")


@pytest.mark.parametrize("card", [Card(0), Card(8, masks=False)])
def test_then_the_processor(card: Card, caplog: pytest.LogCaptureFixture) -> None:
    segmenter = on(card)
    with caplog.at_level(logging.WARNING):
        found = segmenter.segment(FIELD.phase).labels
    np.testing.assert_array_equal(found, EXPECTED)
    assert caplog.records[-1].message == "cuda: out of memory with one tile; goes on, slowly, on the processor"
    assert (segmenter.info["device"], segmenter.info["inference"]) == ("cpu", "torch")


def test_what_is_no_lack_of_memory_is_not_tried_again() -> None:
    class Broken(Card):
        def predict(self, *_: Any) -> Any:
            self.asked.append(0)
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    card = Broken(8)
    with pytest.raises(SegmentationError, match=r"Cellpose failed \(mat1 and mat2"):
        on(card).segment(FIELD.phase)
    assert card.asked == [0]
    assert resolve_model("demo").name == "demo"
