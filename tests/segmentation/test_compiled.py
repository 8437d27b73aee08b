"""torch.compile, where it is asked for: the same cells, one compilation for any number of tiles, and what happens without a compiler."""

from __future__ import annotations

import logging
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bridge.segmentation.backend import planned
from bridge.segmentation.compiled import compiled_or_not
from bridge.segmentation.segmenter import Segmenter
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=31, size_px=420, n_cells=40)


class Net(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.nout, self.convolution = 3, nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, tiles: Any) -> tuple[Any, Any, list[Any]]:
        found = torch.relu(self.convolution(tiles))
        return found, found.mean((2, 3)), [found]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_the_cells_are_the_same() -> None:
    segmenter = Segmenter("demo", "cpu", "compile")
    assert segmenter.info["inference"] == planned("compile") == "torch.compile"
    expected = Segmenter("demo", "cpu", "torch").segment(FIELD.phase, 37.0)
    found = segmenter.segment(FIELD.phase, 37.0)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.labels.max() > 30
    assert segmenter.segment(FIELD.phase[:90, :130], 37.0).labels.max() > 0  # a tile of another size


def test_any_number_of_tiles_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a card, whose batches are full but for the last one."""
    graphs: list[Any] = []

    def noted(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net: real(net, backend=noted))
    net = Net()
    computes, words = compiled_or_not(net, torch.zeros(2, 2, 16, 16), "net")
    assert words == "torch.compile"
    assert computes.nout == 3
    for n in (8, 1, 3, 2):
        tiles = torch.rand(n, 2, 16, 16)
        with torch.no_grad():
            for found, expected in zip(computes(tiles), net(tiles)[:2], strict=True):
                torch.testing.assert_close(found, expected)
    assert len(graphs) == 1


def test_without_a_compiler_it_is_computed_as_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    def cannot(_: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", lambda _: cannot)
    with caplog.at_level(logging.WARNING):
        segmenter = Segmenter("demo", "cpu", "compile")
    assert caplog.messages == ["demo: torch cannot compile this network (InvalidCxxCompiler: No working C++ compiler found); it computes it as it is"]  # fmt: skip
    assert segmenter.info["inference"] == "torch"
    expected = Segmenter("demo", "cpu", "torch").segment(FIELD.phase, 37.0).labels
    np.testing.assert_array_equal(segmenter.segment(FIELD.phase, 37.0).labels, expected)
