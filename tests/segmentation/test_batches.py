"""Images that share batches: the same answers, fewer calls; a card's way, tried on a processor."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import DEMO, make_experiment, tree

from bridge.pipeline.run import run
from bridge.pipeline.steps import network
from bridge.segmentation.batches import Batches
from bridge.segmentation.cellpose3 import Cellpose3
from bridge.segmentation.models import resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.segmentation.within_memory import WithinMemory
from bridge.synthetic import synthetic_field


class Net:
    """Answers with the sum of a tile, and notes how many it was given at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.room = 1_000

    def __call__(self, tiles: Any) -> tuple[Any, Any]:
        self.sizes.append(len(tiles))
        if len(tiles) > self.room:
            raise RuntimeError("CUDA out of memory")
        return tiles.sum((1, 2, 3), keepdim=True), tiles[:, 0, 0, :1]


def all_at_once(net: Batches, many: list[Any], most: int) -> list[Any]:
    begin = threading.Barrier(len(many))

    def look(tiles: Any) -> Any:
        with net.image(most):
            begin.wait()
            return net(tiles)[0]

    with ThreadPoolExecutor(len(many)) as pool:
        return list(pool.map(look, many))


def test_all_that_wait_go_together_and_get_their_own() -> None:
    net = Net()
    many = [torch.full((n, 1, 4, 4), float(n)) for n in (1, 3, 2, 1)]
    for tiles, found in zip(many, all_at_once(Batches(net), many, 8), strict=True):
        assert torch.equal(found, net(tiles)[0])
    assert sum(net.sizes[:-4]) == 7
    assert net.sizes[0] == 7


def test_a_batch_has_at_most_so_many_tiles_of_one_size() -> None:
    net = Net()
    many = [torch.ones(n, 1, side, side) for n, side in ((3, 4), (3, 4), (2, 6), (20, 4))]
    found = all_at_once(Batches(net), many, 4)
    assert [len(each) for each in found] == [3, 3, 2, 20]
    assert max(net.sizes) == 4


def test_what_goes_wrong_reaches_all_of_a_batch() -> None:
    net = Net()
    net.room = 2
    with pytest.raises(RuntimeError, match="out of memory"):
        all_at_once(Batches(net), [torch.ones(2, 1, 4, 4)] * 2, 8)
    net.room = 8
    batches = Batches(net)
    with batches.image(8):
        assert batches(torch.ones(2, 1, 4, 4))[0].shape == (2, 1, 1, 1)  # and nobody waits for ever


@pytest.fixture(scope="module")
def sharing() -> Segmenter:
    """A segmenter whose network shares batches, as on a card."""
    segmenter = Segmenter("demo", "cpu", "torch")
    backend = Cellpose3(resolve_model("demo"), torch.device("cpu"), "torch")
    backend._on_processor = None
    backend.shares_batches = True
    backend.device = "cuda"  # as it says to those that ask
    backend._at_once = lambda batch_size: batch_size  # type: ignore[method-assign]
    backend._network = Batches(backend._model.net)
    segmenter._backend = WithinMemory(backend, lambda: pytest.fail("the processor is not needed"))  # type: ignore[assignment]
    return segmenter


def test_images_that_share_batches_have_the_same_cells(sharing: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [synthetic_field(seed=k, size_px=150 + 10 * k, n_cells=6).phase for k in range(5)]
    images.append(synthetic_field(seed=9, size_px=420, n_cells=20).phase)
    plain = Segmenter("demo", "cpu", "torch")
    expected = [plain.segment(image, 37.0).labels for image in images]
    shared: Any = sharing._backend._backend._network  # type: ignore[attr-defined]
    real, sizes = shared._net, []

    def noted(tiles: Any) -> Any:
        sizes.append(len(tiles))
        return real(tiles)

    noted.nout, noted.device, noted.eval, noted.mkldnn = real.nout, real.device, real.eval, False  # type: ignore[attr-defined]
    monkeypatch.setattr(shared, "_net", noted)
    with ThreadPoolExecutor(len(images)) as pool:
        found = list(pool.map(lambda image: sharing.segment(image, 37.0).labels, images))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert max(sizes) > 1
    assert len(sizes) < sum(sizes)


def test_out_of_memory_is_answered_once_by_all(sharing: Segmenter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    images = [synthetic_field(seed=k, size_px=160, n_cells=6).phase for k in range(4)]
    shared: Any = sharing._backend._backend._network  # type: ignore[attr-defined]
    real = shared._net

    def small(tiles: Any) -> Any:
        if len(tiles) > 2:
            raise RuntimeError("CUDA out of memory")
        return real(tiles)

    small.nout, small.device, small.eval, small.mkldnn = real.nout, real.device, real.eval, False  # type: ignore[attr-defined]
    monkeypatch.setattr(shared, "_net", small)
    begin = threading.Barrier(len(images))

    def look(image: Any) -> Any:
        begin.wait()
        return sharing.segment(image, 37.0, batch_size=8).labels.max()

    with ThreadPoolExecutor(len(images)) as pool:
        found = list(pool.map(look, images))
    assert all(n > 0 for n in found)
    lessened = [record.getMessage() for record in caplog.records if "tries" in record.getMessage()]
    assert lessened[0] == "cuda: out of memory with 8 tiles at once; tries 4"
    assert len(set(lessened)) == len(lessened)  # each size was given up once, by whichever image met it


def test_a_run_lets_it_look_at_several_fields_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor hands over the fields that wait; the files are those of field by field."""
    images = make_experiment(tmp_path / "images")
    settings = {**DEMO, "engine": "native", "inference": "torch", "pictures": "none"}
    run(images, tmp_path / "own", **settings)
    sizes: list[int] = []
    real = network._in_shared_batches

    def noted(tasks: Any, *more: Any) -> Any:
        sizes.append(len(tasks))
        return real(tasks, *more)

    monkeypatch.setattr(Segmenter, "shares_batches", True)
    monkeypatch.setattr(network, "_in_shared_batches", noted)
    run(images, tmp_path / "out", **settings)
    assert sum(sizes) > 2
    assert tree(tmp_path / "out") == tree(tmp_path / "own")
