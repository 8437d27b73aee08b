"""Pictures: outlines on images, contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from small import width

from bridge.grey_scale import display_range
from bridge.report.overlays import comparison_sheet, contact_sheet, overlay
from bridge.report.picture import write_picture


def test_outlines_lie_on_the_cells() -> None:
    labels = np.zeros((20, 20), np.uint16)
    labels[5:10, 5:10] = 1
    labels[5:10, 10:15] = 2
    picture = overlay(np.zeros((20, 20)), labels, (0.0, 1.0))
    outline = (picture == (255, 214, 0)).all(axis=2)
    assert outline.sum() == 2 * 16
    assert not outline[labels == 0].any()
    assert (picture[~outline] == 0).all()


def test_one_grey_scale_for_all_fields() -> None:
    dim, bright = np.full((10, 10), 100.0), np.full((10, 10), 900.0)
    shown = display_range([dim, bright])
    assert shown == (100.0, 900.0)
    none = np.zeros((10, 10), np.uint16)
    assert overlay(dim, none, shown).max() == 0
    assert overlay(bright, none, shown).min() == 255


def test_large_pictures_are_made_smaller_and_say_so(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((100, 5000, 3), np.uint8), "field")
    assert width(tmp_path / "a.png") == 2048


def test_contact_sheet_of_many_fields(tmp_path: Path) -> None:
    picture = np.zeros((400, 500, 3), np.uint8)
    for n in (1, 7, 60):
        contact_sheet(tmp_path / f"{n}.png", [(f"field {i}", [picture, picture]) for i in range(n)], "DMSO")
        assert width(tmp_path / f"{n}.png") < 2200


def test_a_long_caption_of_a_narrow_sheet_is_whole(tmp_path: Path) -> None:
    """In lines, none of which reaches the right border; a short one is one line."""
    picture = np.zeros((300, 300, 3), np.uint8)
    sheets = []
    for caption in (
        "one",
        "phase, EdU from above · middle of the field with the median number of cells · one grey scale",
    ):
        comparison_sheet(tmp_path / "a.png", [("DMSO", "f1", [picture])], 300, None, caption)
        with Image.open(tmp_path / "a.png") as sheet:
            sheets.append(np.asarray(sheet.convert("L")))
    short, long = sheets
    assert long.shape[0] > short.shape[0]
    assert long[short.shape[0] :].min() < 128
    assert (long[:, -4:] == 255).all()
