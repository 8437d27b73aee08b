"""Cells that are left out by size, roundness, brightness and place: found or given, counted by reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from roifile import ROI_TYPE, ImagejRoi
from small import DEMO, given, tree, zipped

import bridge
from bridge.calibration import PIXELS
from bridge.errors import InputError
from bridge.imagej.fiji import FijiEngine
from bridge.images.image import Plane
from bridge.images.label_images import read_labels
from bridge.labels import label_areas, label_ids
from bridge.pipeline.cell_filters import filter_cells
from bridge.pipeline.run import run
from bridge.rois.roiset import selections_of
from bridge.settings_file import settings_from

LABELS = np.zeros((60, 80), np.uint16)
LABELS[5:15, 5:15], LABELS[5:7, 20:60], LABELS[20:50, 5:35], LABELS[30:40, 60:70] = 3, 5, 700, 9


def box(*edges: int) -> bytes:
    left, top, right, bottom = edges
    return ImagejRoi(roitype=ROI_TYPE.RECT, left=left, top=top, right=right, bottom=bottom).tobytes()


def test_each_filter(tmp_path: Path, imagej: FijiEngine) -> None:
    image = np.where(LABELS == 9, 50, 300).astype(np.uint16)
    plane = Plane(image, PIXELS, "a.tif")
    region = tmp_path / "r.roi"
    region.write_bytes(box(0, 0, 40, 60))

    def kept(region: Path | None = None, **options: object) -> tuple[list[int], dict[str, int]]:
        labels, dropped = filter_cells(LABELS, plane, settings_from(options), region)
        return label_ids(labels).tolist(), dict(dropped)

    assert kept() == ([3, 5, 9, 700], {})
    assert kept(max_size=400) == ([3, 5, 9], {"large": 1})
    assert kept(min_mean=100) == ([3, 5, 700], {"dim": 1})
    assert kept(region) == ([3, 700], {"outside": 2})  # of 5 the left half alone lies in it
    cells = selections_of(LABELS)
    measured = imagej.measure(image, cells, "a.tif", None, measurements=("area", "shape")).columns["Circ."]
    of = dict(zip([int(name) for name in cells.names], measured.tolist(), strict=True))
    for least in (0.3, 0.5, *measured.tolist()):
        ids = sorted(label for label, value in of.items() if value >= least)
        assert kept(min_circularity=least)[0] == ids
    assert kept(region, max_size=400, min_mean=100, min_circularity=0.5) == (
        [3], {"large": 1, "shape": 1, "dim": 1, "outside": 0}
    )  # fmt: skip
    with pytest.raises(InputError) as refused:
        filter_cells(LABELS, None, settings_from({"min_mean": 3}), None, "f1")
    assert str(refused.value) == (
        "f1: no image for --min-mean (expected the one in which the cells are found). Add it, or leave out --min-mean."
    )


def test_a_run_on_given_label_images(experiment: Path, tmp_path: Path) -> None:
    masks = experiment.parent / "masks"
    areas = {path.name: label_areas(read_labels(path)) for path in sorted(masks.glob("*.tif"))}
    most = int(np.median(np.concatenate([a[a > 0] for a in areas.values()])))
    regions = tmp_path / "regions"
    regions.mkdir()
    for path in masks.glob("*.tif"):
        (regions / path.name.replace("_mask.tif", "_RoiSet.zip")).write_bytes(zipped({"a.roi": box(0, 0, 160, 80)}))
    asked = {**given(experiment), "max_size": most, "regions": regions}
    run(experiment, tmp_path / "out", **asked)
    counts = pd.read_csv(tmp_path / "out" / "counts.csv", index_col=0)
    assert len(counts) == len(areas) == 4
    for field, row in counts.iterrows():
        before, after = (
            areas[f"{field}_mask.tif"],
            label_areas(read_labels(next((tmp_path / "out").glob(f"masks/*/{field}_mask.tif")))),
        )
        assert row["n_cells"] == np.count_nonzero(after)
        assert row["n_dropped_large"] == np.count_nonzero(before > most)
        assert row["n_cells"] + row["n_dropped_large"] + row["n_dropped_outside"] == np.count_nonzero(before)
        assert set(np.flatnonzero(after)) <= set(np.flatnonzero(before))  # nothing is renumbered
    # Without filters again, and with them: every cell comes back.
    for again in (given(experiment), asked):
        assert run(experiment, tmp_path / "out", update=True, **again).exit_code == 0
        run(experiment, tmp_path / "fresh", **again)
        assert tree(tmp_path / "out") == tree(tmp_path / "fresh")
        shutil.rmtree(tmp_path / "fresh")
    # Another filter re-makes what depends on it, a changed region too.
    with pytest.raises(bridge.BridgeError, match="max_size was"):
        run(experiment, tmp_path / "out", **{**asked, "max_size": most + 1})
    next(regions.iterdir()).write_bytes(zipped({"a.roi": box(0, 0, 160, 90)}))
    with pytest.raises(bridge.BridgeError, match=r"\(region was .* and is"):
        run(experiment, tmp_path / "out", **asked)
    # What only decides whether something is done makes nothing again.
    run(experiment, tmp_path / "out2", **given(experiment))
    assert (
        run(experiment, tmp_path / "out2", **given(experiment), accept_labels=True, allow_missing=True).exit_code == 0
    )
    next(regions.iterdir()).unlink()
    assert len(bridge.plan(experiment, **asked).problems) == 1


@pytest.mark.slow
def test_a_run_that_finds_its_cells(experiment: Path, tmp_path: Path) -> None:
    run(experiment, tmp_path / "all", **DEMO)
    cells = pd.read_csv(tmp_path / "all" / "cells.csv")
    most = int(cells["cell_area_px2"].median())
    run(experiment, tmp_path / "out", **DEMO, max_size=most)
    counts = pd.read_csv(tmp_path / "out" / "counts.csv")
    assert counts["n_dropped_large"].sum() == (cells["cell_area_px2"] > most).sum() > 0
    assert counts["n_cells"].sum() == (cells["cell_area_px2"] <= most).sum()
    # Another filter runs no network.
    found = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "found").glob("*/*.tif")}
    run(experiment, tmp_path / "out", update=True, **DEMO, max_size=most - 1)
    assert found == {path: path.stat().st_mtime_ns for path in found}
    assert len(found) == 4
    assert (pd.read_csv(tmp_path / "out" / "cells.csv")["cell_area_px2"] < most).all()
    image = experiment / "DMSO" / "day1" / "f1_phase.tif"
    alone = bridge.segment(image, tmp_path / "one", model="demo", diameter=37.0, device="cpu", max_size=most)
    run(experiment, tmp_path / "out", update=True, **DEMO, max_size=most)
    np.testing.assert_array_equal(
        read_labels(alone), read_labels(tmp_path / "out" / "masks" / "DMSO" / "DMSO_day1_f1_mask.tif")
    )
