"""Acquisition checks, flat fields, shifts and excluded fields in whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from small import given, tree

import bridge
from bridge.acquisition.flat_field import divided, moved
from bridge.errors import InputError
from bridge.pipeline.run import run


def rewrite(path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(path, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "YX", "unit": "um"})


def test_fields_are_marked(experiment: Path, tmp_path: Path) -> None:
    path = experiment / "Drug" / "day1" / "f1_EdU.tif"
    rewrite(path, np.minimum(tifffile.imread(path), 1500))
    report = run(experiment, tmp_path / "out", **given(experiment), engine="native")
    checks, counts = (pd.read_csv(tmp_path / "out" / name) for name in ("checks.csv", "counts.csv"))
    row = checks[(checks["field_id"] == "Drug_day1_f1") & (checks["check"] == "saturated")]
    assert row["flagged"].tolist() == [True]
    assert counts.set_index("field_id")["flagged"].fillna("").to_dict() == {
        "DMSO_day1_f1": "", "DMSO_day2_f1": "", "Drug_day1_f1": "saturated", "Drug_day2_f1": "",
    }  # fmt: skip
    assert any(text.startswith("1 of 4 fields: EdU: saturated in the cells (") for text in report.warnings)
    before = bridge.plan(experiment, check_pixels=True, **given(experiment)).warnings
    assert any(text.startswith("1 of 4 fields: EdU: saturated (") for text in before)


def test_excluded_fields_are_named_and_come_back(experiment: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "out", {**given(experiment), "engine": "native"}
    run(experiment, out, **options)
    before = tree(out)
    listed = tmp_path / "bad.csv"
    listed.write_text("field_id,why\nDrug_day2_f1,a hair\n", "utf-8")
    report = run(experiment, out, **options, exclude=["DMSO_day1_f1", str(listed)])  # no --update
    assert "2 fields excluded (--exclude): DMSO_day1_f1, Drug_day2_f1" in report.warnings
    assert not [text for text in report.warnings if "no longer in the plan" in text]
    assert set(pd.read_csv(out / "cells.csv")["field_id"]) == {"DMSO_day2_f1", "Drug_day1_f1"}
    assert json.loads((out / "run.json").read_text("utf-8"))["excluded"] == ["DMSO_day1_f1", "Drug_day2_f1"]
    run(experiment, out, **options)
    assert tree(out) == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"exclude": ["f9"]}, "--exclude f9: no such field (expected one of the column field_id of fields.csv). Look at: cellpose-fiji plan"),
        ({"exclude": ["DMSO_day1_f1", "DMSO_day2_f1", "Drug_day1_f1", "Drug_day2_f1"]}, "--exclude: every field (got 4, expected fewer). Nothing would be left."),
        ({"shift": ["pH3=1,2"]}, "--shift pH3: not measured (got EdU). Name a measured channel."),
        ({"shift": ["EdU=1.5,2"]}, "plan: shift: not a shift in whole px (got EdU=1.5,2, expected e.g. EdU=3,-2)"),
        ({"flat_field": "nowhere"}, "nowhere: no such file or folder. Check the path given with --flat-field."),
    ],
)  # fmt: skip
def test_what_cannot_be_done(experiment: Path, options: dict[str, object], text: str) -> None:
    with pytest.raises(InputError) as refused:
        bridge.plan(experiment, **given(experiment), **options)
    assert str(refused.value).startswith(text)


@pytest.mark.slow
def test_flat_field_and_shift_reach_both_engines(experiment: Path, tmp_path: Path) -> None:
    y, x = np.mgrid[:160, :160] / 159
    flat = (1.2 - 0.4 * x + 0.1 * y).astype(np.float32)
    (tmp_path / "flat").mkdir()
    tifffile.imwrite(tmp_path / "flat" / "EdU.tif", flat)
    out = tmp_path / "out"
    report = run(experiment, out, **given(experiment), flat_field=tmp_path / "flat", shift=["EdU=2,-1"])
    assert not report.failures
    assert report.warnings[:2] == (
        "EdU: its images are divided by the flat field EdU.tif before the background is subtracted",
        "EdU: its images are moved by 2 px to the right and -1 px downwards",
    )
    double = json.loads((out / "run.json").read_text("utf-8"))["double_entry"]
    assert double["fields_that_differ"] == 0
    assert double["numbers_compared"] > 0
    # As a run on images that were divided and moved beforehand.
    for path in experiment.rglob("*_EdU.tif"):
        rewrite(path, moved(divided(tifffile.imread(path), flat), 2, -1))
    run(experiment, tmp_path / "fresh", **given(experiment))
    cells, fresh = (pd.read_csv(folder / "cells.csv") for folder in (out, tmp_path / "fresh"))
    saturated = "cell_EdU_saturated_px"  # counted in the images as they were taken
    pd.testing.assert_frame_equal(cells.drop(columns=saturated), fresh.drop(columns=saturated))
    # Another flat field is another input: it is refused without --update.
    tifffile.imwrite(tmp_path / "flat" / "EdU.tif", flat + 1)
    with pytest.raises(bridge.BridgeError, match="made from something else"):
        run(experiment, out, **given(experiment), flat_field=tmp_path / "flat", shift=["EdU=2,-1"])
    tifffile.imwrite(tmp_path / "flat" / "EdU.tif", flat[:99])
    report = run(experiment, tmp_path / "other", **given(experiment), flat_field=tmp_path / "flat")
    assert report.failures[0].message == (
        f"{tmp_path / 'flat' / 'EdU.tif'}: not the size of f1_EdU.tif (got 99 x 160, expected 160 x 160 px). Use a flat field of the same camera and binning."
    )
    tifffile.imwrite(tmp_path / "flat" / "EdU.tif", flat * 0)
    report = run(experiment, tmp_path / "third", **given(experiment), flat_field=tmp_path / "flat")
    assert report.failures[0].message == (
        f"{tmp_path / 'flat' / 'EdU.tif'}: not a flat field (got grey levels down to 0, expected all above 0). Use an image of even light."
    )


def test_flat_fields_need_fields(experiment: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        bridge.flat_field(experiment, tmp_path, **given(experiment))
    assert str(refused.value) == (
        "EdU: too few fields for a flat field (got 4, expected at least 5). Take an image of even light instead, and give it with --flat-field."
    )
    pixels = tifffile.imread(experiment / "DMSO" / "day1" / "f1_EdU.tif")
    for k in range(2, 6):
        for channel in ("phase", "EdU"):
            rewrite(experiment / "DMSO" / "day1" / f"f{k}_{channel}.tif", pixels + k)
    (path,) = bridge.flat_field(experiment, tmp_path / "flat", count="none")
    assert tifffile.imread(path).mean() == pytest.approx(1, abs=1e-5)


def test_a_shift_or_flat_field_of_one_image_is_not_forgotten(experiment: Path, tmp_path: Path) -> None:
    image, mask = experiment / "DMSO" / "day1" / "f1_EdU.tif", tmp_path / "masks" / "DMSO_day1_f1_mask.tif"
    with pytest.raises(InputError) as refused:
        bridge.measure(image, mask, tmp_path, shift=["EdU=3,-2"], engine="native")
    assert str(refused.value) == "--shift EdU: not measured (got nothing). Name a measured channel."
    (tmp_path / "flat").mkdir()
    with pytest.raises(InputError) as refused:
        bridge.measure(image, mask, tmp_path, flat_field=tmp_path / "flat", engine="native")
    assert str(refused.value) == (
        f"{tmp_path / 'flat'}: a folder of flat fields, and an image whose channel is not named. Name the file, or the channel with --channel."
    )
    for path in experiment.rglob("*_EdU.tif"):
        rewrite(path, np.zeros((160, 160), np.uint16))
    for k in range(2, 4):
        for channel in ("phase", "EdU"):
            rewrite(experiment / "DMSO" / "day1" / f"f{k}_{channel}.tif", np.zeros((160, 160), np.uint16))
    with pytest.raises(InputError, match="the median of every image is grey level 0"):
        bridge.flat_field(experiment, tmp_path / "out", count="none")
