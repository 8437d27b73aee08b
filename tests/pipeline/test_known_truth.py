"""The answer on an experiment whose truth is known: shares are right where the mean of the whole cell misleads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from skimage.segmentation import expand_labels
from small import DEMO

from bridge.images.label_images import write_labels
from bridge.pipeline.run import run
from bridge.synthetic import synthetic_field

CONDITIONS = {"DMSO": (0.4, 0), "Rare": (0.01, 0), "Few": (0.1, 0), "Many": (0.6, 0), "Spread": (0.4, 9)}
CONTROL, CONTROL_FIELDS = "No_EdU", 5
REPLICATES = ("day1", "day2")


@pytest.mark.slow
def test_shares_are_right_where_whole_cells_mislead(tmp_path: Path) -> None:
    truth: dict[str, list[bool]] = {name: [] for name in CONDITIONS}

    def write(condition: str, replicate: str, k: int, seed: int, share: float, spread_px: int) -> None:
        field = synthetic_field(seed, size_px=512, n_cells=60, positive_share=share)
        for channel, pixels in (("phase", field.phase), ("EdU", field.edu), ("TO-PRO-3", field.topro)):
            path = tmp_path / "images" / condition / replicate / f"f{k}_{channel}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, pixels, imagej=True)
        # Cells that spread: the same nuclei in larger outlines.
        cells = expand_labels(field.cells, spread_px)
        write_labels(tmp_path / "masks" / f"{condition}_{replicate}_f{k}_mask.tif", cells, None)
        if condition in truth:
            truth[condition] += field.positive[1:].tolist()

    for j, replicate in enumerate(REPLICATES):
        for i, (condition, (share, spread)) in enumerate(CONDITIONS.items()):
            write(condition, replicate, 1, 300 + 10 * i + j, share, spread)
        for k in range(CONTROL_FIELDS):
            write(CONTROL, replicate, k, 400 + 10 * k + j, 0.0, 0)
    settings = {**DEMO, "edu_threshold": [], "edu_control": CONTROL, "masks": tmp_path / "masks", "engine": "native"}
    for name in ("model", "diameter"):
        settings.pop(name)
    report = run(tmp_path / "images", tmp_path / "out", **settings)
    assert report.exit_code == 0

    shares = pd.read_csv(tmp_path / "out" / "shares.csv")
    found = shares[shares["level"] == "condition"].set_index("condition")["share"]
    for condition, positive in truth.items():
        assert found[condition] == pytest.approx(100 * np.mean(positive), abs=2), condition
    assert found[CONTROL] == pytest.approx(0, abs=0.5)

    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    whole = cells.groupby("condition")["cell_EdU_Mean"].mean()
    assert np.mean(truth["Spread"]) == np.mean(truth["DMSO"])
    assert whole["Spread"] < 0.75 * whole["DMSO"]  # as if less DNA were made
    assert abs(found["Spread"] - found["DMSO"]) < 3
    nuclei = pd.read_csv(tmp_path / "out" / "nuclei.csv").groupby("condition")["nucleus_EdU_Mean"].mean()
    assert nuclei["Spread"] == pytest.approx(nuclei["DMSO"], rel=0.1)
