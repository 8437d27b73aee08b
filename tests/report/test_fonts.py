from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from small import make_experiment

import bridge
from bridge.report.fonts import families, typeface

HIEROGLYPH = "\U00013000"


def test_greek_and_umlauts_are_drawn_everywhere() -> None:
    assert families(["10 µM α-Zähler ≥ ×"]) == (["DejaVu Sans"], "")


def test_what_no_font_has_is_named(tmp_path: Path) -> None:
    chosen, missing = families([f"Drug {HIEROGLYPH}"])
    if not missing:
        pytest.skip("this machine has a font of hieroglyphs")
    assert missing == HIEROGLYPH
    assert chosen == ["DejaVu Sans"]
    experiment = make_experiment(tmp_path / "images")
    next(path for path in sorted(experiment.iterdir()) if path.is_dir()).rename(experiment / f"Drug {HIEROGLYPH}")
    warnings = bridge.plan(experiment).warnings
    assert (
        f"no font of this machine has {HIEROGLYPH}: figures show boxes. Install one that has, e.g. Noto Sans CJK"
        in warnings
    )


def test_captions_show_greek_letters() -> None:
    def drawn(text: str) -> np.ndarray:
        picture = Image.new("L", (40, 24))
        ImageDraw.Draw(picture).text((2, 2), text, fill=255, font=typeface(text, 14))
        return np.asarray(picture)

    box = drawn(HIEROGLYPH)
    for letter in "µαäβ≥":
        assert drawn(letter).any()
        assert not np.array_equal(drawn(letter), box)
