"""What only the pixels tell: copies, and images that cannot be measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import tifffile
from small import given

import bridge
from bridge.pipeline.run import run


def test_copies_are_pointed_out(experiment: Path, tmp_path: Path) -> None:
    day1, day2 = (experiment / "DMSO" / day for day in ("day1", "day2"))
    shutil.copy(day1 / "f1_EdU.tif", day2 / "f1_EdU.tif")
    # Another file with the same pixels, and one file under two channels' names.
    pixels = tifffile.imread(experiment / "Drug" / "day1" / "f1_EdU.tif")
    tifffile.imwrite(experiment / "Drug" / "day2" / "f1_EdU.tif", pixels, compression="zlib", imagej=False)
    report = run(experiment, tmp_path / "out", **given(experiment))
    two = "the same pixels in {} (EdU) and {} (EdU): copies of one image count as if they were two"
    expected = [two.format("DMSO_day1_f1", "DMSO_day2_f1"), two.format("Drug_day1_f1", "Drug_day2_f1")]
    assert [text for text in report.warnings if text.startswith("the same pixels")] == expected
    headers, decoded = (bridge.plan(experiment, check_pixels=check, **given(experiment)) for check in (False, True))
    assert not [text for text in headers.warnings if text.startswith("the same pixels")]
    assert [text for text in decoded.warnings if text.startswith("the same pixels")] == expected


def test_one_image_as_two_channels(experiment: Path) -> None:
    day = experiment / "DMSO" / "day1"
    shutil.copy(day / "f1_phase.tif", day / "f1_EdU.tif")
    plan = bridge.plan(experiment, check_pixels=True, **given(experiment))
    assert "the same pixels in DMSO_day1_f1 (phase) and DMSO_day1_f1 (EdU): copies of one image count as if they were two" in plan.warnings  # fmt: skip


def test_images_that_cannot_be_measured_are_problems_before_the_run(experiment: Path) -> None:
    path = experiment / "DMSO" / "day1" / "f1_EdU.tif"
    colour = np.zeros((160, 160, 3), np.uint8)
    colour[..., 0], colour[..., 1] = 5, 9
    tifffile.imwrite(path, colour, photometric="rgb")
    assert not bridge.plan(experiment, **given(experiment)).problems
    ((field, problem),) = bridge.plan(experiment, check_pixels=True, **given(experiment)).problems
    assert field == "DMSO_day1_f1"
    assert problem.startswith(f"{path}: a colour image with signal in red and green")
