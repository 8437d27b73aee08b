"""Write `docs/before_after.png`: the demo network on synthetic fields it has not learnt, before and after fine-tuning.

    uv run python scripts/fine_tuning_picture.py

Two minutes on two CPU cores. Fields with the contrast turned round; six are learnt from, two held out.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import tifffile

import bridge
from bridge.images.label_images import write_labels
from bridge.synthetic import synthetic_field

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for k in range(8):
            field = synthetic_field(seed=7_000 + k, size_px=320, n_cells=20)
            tifffile.imwrite(folder / f"f{k}.tif", field.phase.max() + field.phase.min() - field.phase)
            write_labels(folder / f"f{k}_mask.tif", field.cells)
        trained = bridge.train(
            folder, folder / "models", base="demo", epochs=100, crop=160, held_out=["f6", "f7"], device="cpu", say=print
        )
        print(trained.sets.T)
        print(trained.advice)
        shutil.copy(trained.model.parent / "pictures" / "held-out_f7.png", DOCS / "before_after.png")


if __name__ == "__main__":
    main()
