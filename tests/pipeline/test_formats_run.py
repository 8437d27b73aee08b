"""The same experiment as files of microscopes and as TIFFs: the same numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from images.made import MAKERS
from small import given, make_experiment, tree

import bridge
from bridge.images.label_images import write_labels
from bridge.pipeline.run import run
from bridge.synthetic_movie import synthetic_movie

FILES = ["DMSO_day1_f1", "DMSO_day2_f1", "Drug_day1_f1", "Drug_day2_f1"]
CHANNELS = ["phase", "EdU", "TO-PRO-3"]


@pytest.fixture(scope="module")
def as_tiff(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tiff")
    images = make_experiment(folder / "images")
    run(images, folder / "results", engine="native", pixel_size=0.65, measure=["EdU"], **given(images))
    return images, folder / "results"


@pytest.mark.parametrize("suffix", MAKERS)
def test_numbers_are_those_of_the_tiffs(as_tiff: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    """One file for each condition, its scenes the replicates: pixel columns and um columns to the byte."""
    images, results = as_tiff
    for condition in ("DMSO", "Drug"):
        planes = [[tifffile.imread(images / condition / day / f"f1_{c}.tif") for c in CHANNELS] for day in ("day1", "day2")]  # fmt: skip
        stack = np.array(planes)[:, None, :, None]
        (tmp_path / "images").mkdir(exist_ok=True)
        MAKERS[suffix](tmp_path / "images" / f"{condition}{suffix}", stack, CHANNELS)
    plan = bridge.plan(tmp_path / "images", masks=images.parent / "masks", count="none")
    assert plan.conditions == ("DMSO", "Drug")
    ids = [item.field_id for item in plan.fields]
    masks = tmp_path / "masks"
    masks.mkdir()
    for name, field_id in zip(FILES, ids, strict=True):
        (masks / f"{field_id}_mask.tif").write_bytes((images.parent / "masks" / f"{name}_mask.tif").read_bytes())
    how = {**given(images), "masks": masks, "engine": "native", "pixel_size": 0.65}
    report = run(tmp_path / "images", tmp_path / "out", **how)
    assert not report.failures
    expected, found = (pd.read_csv(f / "cells.csv", dtype=str).drop(columns=["field_id", "replicate"]) for f in (results, tmp_path / "out"))  # fmt: skip
    pd.testing.assert_frame_equal(found, expected)
    before = tree(tmp_path / "out")
    assert run(tmp_path / "images", tmp_path / "out", **how).done == 4
    assert tree(tmp_path / "out") == before
    label = (tmp_path / "out" / "measurements" / "DMSO" / f"{ids[0]}_EdU_Results.csv").read_text().splitlines()[1]
    assert label.split(",")[1].startswith(f"DMSO{suffix} - ")


def test_one_file_holds_everything(as_tiff: tuple[Path, Path], tmp_path: Path) -> None:
    """A plate as one file: the sheet gives each well its condition; the fields can be corrected and learnt from."""
    images, _ = as_tiff
    stack = np.array([[tifffile.imread(next(images.glob(f"{n.split('_')[0]}/{n.split('_')[1]}/f1_{c}.tif"))) for c in CHANNELS] for n in FILES])  # fmt: skip
    path = MAKERS[".zarr"](tmp_path / "plate.zarr", stack[:, None, :, None], CHANNELS)
    sheet = tmp_path / "samples.csv"
    sheet.write_text("well,condition,replicate\nA1,DMSO,1\nA2,DMSO,2\nA3,Drug,1\nA4,Drug,2\n")
    out = tmp_path / "out"
    report = run(
        path, out, samples=sheet, model="demo", diameter=37.0, count="none", engine="native", edu_threshold=["300"]
    )
    assert not report.failures
    fields = pd.read_csv(out / "fields.csv", dtype=str)
    assert fields["segment_path"].tolist() == [f"plate.zarr#scene={k}" for k in (1, 2, 3, 4)]
    assert fields["condition"].tolist() == ["DMSO", "DMSO", "Drug", "Drug"]
    written = bridge.correct(out)
    assert len(written) == 4
    np.testing.assert_array_equal(tifffile.imread(out / "corrections" / f"{fields['field_id'][1]}.tif")[1], stack[1, 1])
    run(path, out, samples=sheet, model="demo", diameter=37.0, count="none", engine="native", edu_threshold=["300"])


@pytest.mark.parametrize("suffix", [".ome.tif", ".lif"])
def test_frames_of_a_file_are_a_series(tmp_path: Path, suffix: str) -> None:
    movie = synthetic_movie(seed=1, n_frames=4, size_px=192, n_cells=8)
    stack = np.stack([np.where(labels > 0, 900, 100).astype(np.uint16) for labels in movie.labels])
    (tmp_path / "images").mkdir()
    MAKERS[suffix](tmp_path / "images" / f"DMSO{suffix}", np.stack([stack, stack])[:, :, None, None], ["phase"])
    plan = bridge.plan(tmp_path / "images", measure="none")
    assert len(plan.fields) == 8
    assert [item.frame for item in plan.fields] == [1, 2, 3, 4] * 2
    assert len({item.series_id for item in plan.fields}) == 2
    masks = tmp_path / "masks"
    for item, labels in zip(plan.fields, [*movie.labels, *movie.labels], strict=True):
        write_labels(masks / f"{item.field_id}_mask.tif", labels)
    assert not run(tmp_path / "images", tmp_path / "out", masks=masks, measure="none", engine="native").failures
    said: list[str] = []
    found = bridge.track(tmp_path / "out", announce=said.append)
    assert "600 s from frame to frame, as the images say" in said
    assert found.tracks.groupby("series_id")["frame"].nunique().tolist() == [4, 4]
    assert json.loads((tmp_path / "out" / "tracks" / "tracking.json").read_text())["interval_s"] == 600.0


def test_names_that_are_no_utf8_are_run(tmp_path: Path) -> None:
    """As old shares and zips leave them: read, measured by both engines, and corrected."""
    images = make_experiment(tmp_path / "images")
    for path in sorted(images.rglob("*.tif")):
        os.rename(path, os.fsencode(path.parent) + b"/Z\xe4hlung " + os.fsencode(path.name))
    for path in (tmp_path / "masks").glob("*.tif"):
        path.rename(path.with_name(path.name.replace("_f1", "_Zählung_f1")))
    how = given(images)
    report = run(images, tmp_path / "out", **how)
    assert not report.failures
    assert next(item.field_id for item in report.plan.fields) == "DMSO_day1_Zählung_f1"
    assert run(images, tmp_path / "out", **how).done == 4
    assert len(bridge.correct(tmp_path / "out")) == 4
    assert json.loads((tmp_path / "out" / "run.json").read_text())["state"] == "done"
