"""Bundles of runs of every kind: filters, rings, flat fields, corrections, classes, tracks, files of microscopes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from images.made import MAKERS
from small import DEMO, given

import bridge
from bridge.errors import MissingDependencyError
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import label_ids
from bridge.pipeline.run import run
from bridge.pipeline.verify import Verification
from bridge.rois.roiset import encode_roiset
from bridge.synthetic import two_types
from bridge.synthetic_movie import synthetic_movie


def checked(results: Path, images: Path, elsewhere: Path) -> Verification:
    """Bundle a run, move its images, and check it there."""
    bridge.bundle(results, elsewhere / "a.zip")
    shutil.move(images, elsewhere / "moved")
    return bridge.verify(elsewhere / "a.zip", elsewhere / "moved")


@pytest.fixture
def prepared(experiment: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings for given label images with a flat field, and rings, and filters."""
    flat = tmp_path / "flat"
    flat.mkdir()
    tifffile.imwrite(flat / "EdU.tif", (1000 + np.add.outer(np.arange(160), np.arange(160))).astype(np.uint16))
    return {**given(experiment), "flat_field": flat, "max_size": 900, "shift": ["EdU=1,-1"], "save_subtracted": True, "engine": "native"}  # fmt: skip


@pytest.mark.slow
def test_filters_rings_and_flat_fields(experiment: Path, tmp_path: Path, prepared: dict[str, Any]) -> None:
    tifffile.imwrite(prepared["flat_field"] / "TO-PRO-3.tif", np.full((160, 160), 7, np.uint16))
    how = {**prepared, **DEMO, "masks": None, "count": None, "ring": 3}
    assert run(experiment, tmp_path / "out", **how).exit_code == 0
    found = checked(tmp_path / "out", experiment, tmp_path)
    assert (found.differences, found.notes, found.fields, found.segmented) == ((), (), 4, 4)
    assert found.cells > 4


def test_a_flat_field_that_is_gone(experiment: Path, tmp_path: Path, prepared: dict[str, Any]) -> None:
    assert run(experiment, tmp_path / "out", **prepared).exit_code == 0
    shutil.rmtree(prepared["flat_field"])
    made = bridge.bundle(tmp_path / "out", tmp_path / "a.zip")
    assert made.notes == (
        "the flat field of EdU is not where it was, or was changed: without it nobody can measure again",
    )
    found = bridge.verify(tmp_path / "a.zip", experiment)
    assert found.notes == (
        "nothing was measured again: the flat field of EdU is not in the bundle",
        "the label images of 4 fields were given to the run: there is nothing to look for again",
    )
    assert (found.exit_code, found.fields) == (0, 0)


def test_corrected_cells_and_fields_left_out(experiment: Path, tmp_path: Path, prepared: dict[str, Any]) -> None:
    results = tmp_path / "out"
    assert run(experiment, results, **prepared, exclude=["Drug_day2_f1"]).exit_code == 0
    (path,) = bridge.correct(results, ["DMSO_day1_f1"])
    labels = read_labels(results / "masks" / "DMSO" / "DMSO_day1_f1_mask.tif")
    path.write_bytes(encode_roiset(np.where(labels == label_ids(labels)[0], 0, labels).astype(labels.dtype)))
    assert bridge.apply(results).fields == ("DMSO_day1_f1",)
    found = checked(results, experiment, tmp_path)
    assert (found.differences, found.fields, found.exit_code) == ((), 3, 0)


def test_a_field_that_failed(experiment: Path, tmp_path: Path) -> None:
    (experiment / "Drug" / "day1" / "f1_EdU.tif").write_bytes(b"no image")
    results = tmp_path / "out"
    assert run(experiment, results, **given(experiment), engine="native").exit_code == 1
    found = checked(results, experiment, tmp_path)
    assert (found.differences, found.fields, found.exit_code) == ((), 3, 0)


def test_without_java_the_native_engine_measures(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "out"
    assert run(experiment, results, **given(experiment)).exit_code == 0
    from bridge.imagej.fiji import FijiEngine

    def no_java(self: FijiEngine) -> None:
        raise MissingDependencyError("Java: not on this machine. Install it.")

    monkeypatch.setattr(FijiEngine, "start", no_java)
    found = checked(results, experiment, tmp_path)
    assert (found.differences, found.fields, found.cells_differ) == ((), 4, 0)
    assert found.notes[0] == (
        "measured by the native engine alone, since ImageJ could not be had here (Java: not on this machine. Install it)"
    )


@pytest.mark.slow
def test_imagej_measures_again(finished_with_masks: tuple[Path, Path], tmp_path: Path) -> None:
    images, results = finished_with_masks
    shutil.copytree(images, tmp_path / "images")
    found = checked(results, tmp_path / "images", tmp_path)
    assert (found.differences, found.fields, found.cells_differ) == ((), 4, 0)
    assert found.notes == ("the label images of 4 fields were given to the run: there is nothing to look for again",)


@pytest.mark.parametrize("suffix", MAKERS)
def test_files_of_microscopes(experiment: Path, tmp_path: Path, suffix: str) -> None:
    channels = ["phase", "EdU", "TO-PRO-3"]
    images, masks = tmp_path / "files", tmp_path / "named"
    images.mkdir()
    masks.mkdir()
    for condition in ("DMSO", "Drug"):
        planes = [[tifffile.imread(experiment / condition / day / f"f1_{c}.tif") for c in channels] for day in ("day1", "day2")]  # fmt: skip
        MAKERS[suffix](images / f"{condition}{suffix}", np.array(planes)[:, None, :, None], channels)
    how = {**given(experiment), "masks": masks, "engine": "native", "pixel_size": 0.65}
    names = ("DMSO_day1_f1", "DMSO_day2_f1", "Drug_day1_f1", "Drug_day2_f1")
    for name, item in zip(names, bridge.plan(images, masks=tmp_path / "masks", count="none").fields, strict=True):
        shutil.copy(tmp_path / "masks" / f"{name}_mask.tif", masks / f"{item.field_id}_mask.tif")
    assert run(images, tmp_path / "out", **how).exit_code == 0
    found = checked(tmp_path / "out", images, tmp_path)
    assert (found.differences, found.fields, found.cells_differ) == ((), 4, 0)


def test_classes(tmp_path: Path) -> None:
    rows = ["field_id,label,class"]
    for k, (condition, share) in enumerate((("HEK", 0.0), ("N2a", 1.0), ("mixed", 0.5))):
        field = two_types(300 + k, share, size_px=256, n_cells=20)
        for name, pixels in (("green", field.cytoplasm), ("EdU", field.edu)):
            (tmp_path / "images" / condition).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "images" / condition / f"f1_{name}.tif", pixels, imagej=True)
        write_labels(tmp_path / "masks" / f"{condition}_f1_mask.tif", field.cells)
        rows += [f"{condition}_f1,{n},{('HEK', 'N2a')[field.kind[n]]}" for n in range(1, int(field.cells.max()) + 1)]
    (tmp_path / "truth.csv").write_text("\n".join(rows) + "\n")
    results = tmp_path / "out"
    run(tmp_path / "images", results, masks=tmp_path / "masks", segment="green", measure=["EdU"], engine="native", edu_threshold=["900"])  # fmt: skip
    bridge.classify(results, truth=tmp_path / "truth.csv")
    found = checked(results, tmp_path / "images", tmp_path)
    assert (found.differences, found.fields) == ((), 3)


def test_tracks(tmp_path: Path) -> None:
    movie = synthetic_movie(21, n_frames=3, size_px=220, n_cells=22)
    for k, labels in enumerate(movie.labels):
        place = tmp_path / "images" / "DMSO"
        place.mkdir(parents=True, exist_ok=True)
        for channel, factor in (("phase", 40), ("EdU", 3)):
            tifffile.imwrite(place / f"well_t{k:02d}_{channel}.tif", (900 + factor * labels).astype(np.uint16), imagej=True)  # fmt: skip
        write_labels(tmp_path / "masks" / f"DMSO_well_t{k:02d}_mask.tif", labels)
    results = tmp_path / "out"
    run(
        tmp_path / "images", results, pattern="{condition}/{field}_t{frame}_{channel}.tif", masks=tmp_path / "masks",
        engine="native", positive=["none"],
    )  # fmt: skip
    bridge.track(results, interval_s=600)
    found = checked(results, tmp_path / "images", tmp_path)
    assert (found.differences, found.fields) == ((), 3)


def test_conditions_of_very_many_fields_and_a_cleaned_folder(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.pipeline.results_folder._SPLIT_ABOVE", 1)
    results = tmp_path / "out"
    assert run(experiment, results, **given(experiment), engine="native").exit_code == 0
    assert not list(results.glob("masks/*/*.tif"))
    bridge.clean(results, yes=True)
    found = checked(results, experiment, tmp_path)
    assert (found.differences, found.fields, found.cells_differ, found.exit_code) == ((), 4, 0, 0)
