"""Figures: what they show and say."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from small import CONDITIONS, width

from bridge.report.style import Look
from bridge.report.superplot import superplot


def texts(path: Path) -> list[str]:
    return [node.text or "" for node in ElementTree.parse(path).iter() if node.tag.endswith("text")]


def test_the_figure_names_what_it_shows(tmp_path: Path, cells: pd.DataFrame) -> None:
    png, svg = superplot(tmp_path / "f", cells, "cell_EdU_Mean", "EdU mean (grey level)", CONDITIONS)
    assert width(png) > 600
    said = texts(svg)
    for text in ("=Drug & <b>", "90 cells", "3 replicates", "0 cells", "EdU mean (grey level)", "mean of replicate 3"):
        assert text in said
    assert not any("p =" in text or "*" in text for text in said)


@pytest.mark.parametrize("log", [False, True])
def test_nothing_is_drawn_below_the_data(
    cells: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: bool
) -> None:
    from matplotlib.axes import Axes

    drawn: list[np.ndarray] = []
    real = Axes.fill_betweenx

    def fill_betweenx(self: Axes, y: np.ndarray, *args: object, **options: object) -> object:
        drawn.append(y)
        return real(self, y, *args, **options)

    monkeypatch.setattr(Axes, "fill_betweenx", fill_betweenx)
    look = Look(kind="violin", log=log, formats=("png",))
    superplot(tmp_path / "f", cells, "cell_EdU_Mean", "x", CONDITIONS[:2], look=look)
    assert len(drawn) == 2
    for y, condition in zip(drawn, CONDITIONS[:2], strict=True):
        values = cells.loc[cells["condition"] == condition, "cell_EdU_Mean"]
        assert y.min() == pytest.approx(values.min())
        assert y.max() == pytest.approx(values.max())


def test_without_replicates_fields_are_called_technical(tmp_path: Path, cells: pd.DataFrame) -> None:
    _, svg = superplot(tmp_path / "f", cells.assign(replicate=""), "cell_EdU_Mean", "x", CONDITIONS)
    said = texts(svg)
    assert "mean of a field (technical: no replicate is known)" in said
    assert "n = 1, 3 fields" in said
    assert not any("replicate" in text and "technical" not in text for text in said)


def test_few_equal_and_missing_values_are_drawn_without_an_error(tmp_path: Path, cells: pd.DataFrame) -> None:
    for part in (
        cells.iloc[:0],
        cells.iloc[:1],
        cells.iloc[:6].assign(cell_EdU_Mean=5.0),
        cells.iloc[:6].assign(cell_EdU_Mean=np.nan),
    ):
        assert all(
            path.stat().st_size > 1000 for path in superplot(tmp_path / "f", part, "cell_EdU_Mean", "$x_", CONDITIONS)
        )


def test_same_cells_same_figure(tmp_path: Path, cells: pd.DataFrame) -> None:
    first = [path.read_bytes() for path in superplot(tmp_path / "a", cells, "cell_EdU_Mean", "x", CONDITIONS)]
    second = [path.read_bytes() for path in superplot(tmp_path / "b", cells, "cell_EdU_Mean", "x", CONDITIONS)]
    assert first == second


# ---------------------------------------------------------------- pictures
