"""Pixel sizes: what ImageJ saved is read to the last bit, and what is written is read by ImageJ as the same."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from java import calibrations_in_imagej, save_with_imagej

from bridge.calibration import PIXELS, Calibration, _escaped, unit_in_um
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


RESOLUTIONS = (
    None, (1, 1), (4, 1), (72, 1), (300, 1), (20, 13), (20000, 1), (10000, 1), (100000, 1), (1538461, 50), (0, 1), (1, 0), (3076923, 1000000),
)  # fmt: skip
DESCRIPTIONS = (
    None, "made by hand", "ImageJ", "ImageJ=1.54p\n", *(f"ImageJ=1.54p\nunit={unit}\n" for unit in ("um", "micron", "\\u00B5m", "nm", "mm", "cm", "inch", "pixel")),
)  # fmt: skip


def test_calibration_is_imagejs_bit_for_bit(tmp_path: Path) -> None:
    """Every combination of resolution, unit of the resolution and description, with X and Y apart."""
    files = []
    for code in (None, 1, 2, 3):
        for description in DESCRIPTIONS:
            for k, x in enumerate(RESOLUTIONS):
                for y in (x, RESOLUTIONS[(k + 3) % len(RESOLUTIONS)]):
                    files.append(tmp_path / f"{len(files)}.tif")
                    files[-1].write_bytes(_tiff(x, y, code, description))
    different = []
    for file, (width, height, unit) in zip(files, calibrations_in_imagej(files), strict=True):
        ours = inspect(file).calibration
        if unit in ("inch", "in"):  # the one difference: a printer's unit, so the image counts as not calibrated
            assert ours == PIXELS, (file.read_bytes(), width, height, unit, ours)
            continue
        same_unit = (
            ours.unit == unit or (ours.unit == "micron" and unit in ("\u00b5m", "micron", "um")) or ours == PIXELS
        )
        if (ours.width, ours.height) != (width, height) or not same_unit:
            different.append((file.read_bytes()[8:], ours, (width, height, unit)))
    assert different == []


def _tiff(x: tuple[int, int] | None, y: tuple[int, int] | None, code: int | None, description: str | None) -> bytes:
    """A TIFF of 3 x 2 px with just these tags."""
    text = b"" if description is None else description.encode("latin-1") + b"\0"
    entries: list[tuple[int, int, int, bytes]] = [
        (256, 4, 1, struct.pack("<I", 3)), (257, 4, 1, struct.pack("<I", 2)), (258, 3, 1, struct.pack("<I", 16)),
        (259, 3, 1, struct.pack("<I", 1)), (262, 3, 1, struct.pack("<I", 1)), (277, 3, 1, struct.pack("<I", 1)),
        (278, 4, 1, struct.pack("<I", 2)), (279, 4, 1, struct.pack("<I", 12)), (273, 4, 1, b""),
    ]  # fmt: skip
    entries += [(270, 2, len(text), text)] if text else []
    entries += [(tag, 5, 1, struct.pack("<II", *value)) for tag, value in ((282, x), (283, y)) if value is not None]
    entries += [(296, 3, 1, struct.pack("<I", code))] if code is not None else []
    entries.sort()
    at = 8 + 2 + 12 * len(entries) + 4
    directory, behind = b"", b""
    for tag, kind, count, value in entries:
        if tag == 273:
            value = struct.pack("<I", at + sum(len(e[3]) + len(e[3]) % 2 for e in entries if len(e[3]) > 4))
        if len(value) > 4:
            offset = at + len(behind)
            behind += value + b"\0" * (len(value) % 2)
            value = struct.pack("<I", offset)
        directory += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + b"\0\0\0\0" + behind + bytes(range(12))


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        ("µm", 1.0), ("\u03bcm", 1.0), ("um", 1.0), ("micron", 1.0), ("microns", 1.0), ("Micrometer", 1.0), ("micrometers", 1.0), ("micrometre", 1.0),
        ("MICROMETRES", 1.0), (" um ", 1.0), ("\\u00B5m", 1.0), ("nm", 1e-3), ("nanometers", 1e-3), ("Nanometre", 1e-3), ("mm", 1e3), ("millimeters", 1e3),
        ("cm", 1e4), ("m", 1e6), ("meters", 1e6), ("Å", 1e-4), ("angstroms", 1e-4), ("pm", 1e-6), ("pixel", None), ("pixels", None), ("", None), ("inch", None),
        ("ms", None), ("s", None),
    ],
)  # fmt: skip
def test_spellings_of_units(tmp_path: Path, unit: str, size: float | None) -> None:
    assert unit_in_um(unit) == size
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.ones((3, 4), np.uint16), imagej=True, resolution=(2, 4), metadata={"unit": _escaped(unit)}
    )
    found = inspect(path).calibration
    assert found.pixel_size_um == (None if size is None else 0.5 * size)
    assert found.pixel_area_um2 == (None if size is None else 0.5 * size * (0.25 * size))
