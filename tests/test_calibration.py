"""Pixel sizes: what ImageJ saved is read to the last bit, and what is written is read by ImageJ as the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from java import calibrations_in_imagej, save_with_imagej

from bridge.calibration import Calibration
from bridge.images.label_images import write_labels
from bridge.images.reader import inspect

EVERY_NM = [nm / 1000 for nm in range(50, 3001)]  # 0.05 to 3 um


@pytest.mark.slow
def test_every_pixel_size_both_ways(tmp_path: Path) -> None:
    saved = save_with_imagej(tmp_path, EVERY_NM)
    in_imagej = calibrations_in_imagej(saved)
    ours = [inspect(path).calibration for path in saved]
    assert [(c.width, c.height) for c in ours] == [(width, height) for width, height, _ in in_imagej]
    assert {c.unit for c in ours} == {"micron"}

    masks = [path.with_name(f"{path.stem}_mask.tif") for path in saved]
    for mask, calibration in zip(masks, ours, strict=True):
        write_labels(mask, np.ones((2, 3), np.uint16), calibration)
    assert calibrations_in_imagej(masks) == in_imagej
    assert [inspect(mask).calibration for mask in masks] == ours


@pytest.mark.slow
def test_a_size_that_a_person_gives_is_written_as_near_as_a_file_can_hold_it(tmp_path: Path) -> None:
    masks = [tmp_path / f"{k}_mask.tif" for k in range(len(EVERY_NM))]
    for mask, size in zip(masks, EVERY_NM, strict=True):
        write_labels(mask, np.ones((2, 3), np.uint16), Calibration(size, size, "micron"))
    read = np.array([width for width, _, _ in calibrations_in_imagej(masks)])
    assert (np.abs(read - EVERY_NM) <= np.spacing(EVERY_NM)).all()


@pytest.mark.parametrize("size", [1e-12, 7e-10, 1e-3, 1e3, 1e12])
def test_no_size_is_beyond_the_file(tmp_path: Path, size: float) -> None:
    write_labels(tmp_path / "f_mask.tif", np.ones((2, 3), np.uint16), Calibration(size, size, "micron"))
    assert inspect(tmp_path / "f_mask.tif").calibration.width > 0
