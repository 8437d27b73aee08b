"""A small experiment on disk, and how results folders are compared."""

from __future__ import annotations

from pathlib import Path

import tifffile

from bridge.labels import write_labels
from bridge.synthetic import synthetic_field


def make_experiment(folder: Path) -> Path:
    """Two conditions, two replicates, small synthetic fields with phase, EdU and TO-PRO-3; `masks` beside it."""
    for i, condition in enumerate(("DMSO", "Drug")):
        for j, replicate in enumerate(("day1", "day2")):
            field = synthetic_field(seed=40 + 2 * i + j, size_px=160, n_cells=8, positive_share=0.5 - 0.4 * i)
            write_labels(folder.parent / "masks" / f"{condition}_{replicate}_f1_mask.tif", field.cells)
            for channel, pixels in (("phase", field.phase), ("EdU", field.edu), ("TO-PRO-3", field.topro)):
                path = folder / condition / replicate / f"f1_{channel}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(
                    path, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "YX", "unit": "um"}
                )
    return folder


DEMO = {"model": "demo", "diameter": 37.0, "count_model": "demo", "count_diameter": 24.0, "device": "cpu"}


def tree(folder: Path, skip: tuple[str, ...] = ("run.json",)) -> dict[str, bytes]:
    """Every file of a results folder; records hold no times, so whole trees can be compared."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in skip and not path.name.startswith(".")
    }
