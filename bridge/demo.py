"""The demo: six synthetic conditions and a control of the gate, through the whole pipeline, compared with the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bridge.calibration import Calibration
from bridge.files import whole_file
from bridge.imagej.fiji import FijiEngine
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import label_areas, label_ids
from bridge.pipeline.progress import Progress
from bridge.pipeline.run import Report, run
from bridge.rois.roiset import selections_of
from bridge.scores.matching import match_labels
from bridge.settings_file import settings_from
from bridge.synthetic import SyntheticField, synthetic_field
from bridge.tables import measure_column

# Condition -> share of EdU-positive cells.
CONDITIONS = {
    "DMSO": 0.45,
    "Drug_A_1uM": 0.36,
    "Drug_A_10uM": 0.18,
    "Drug_B_1uM": 0.30,
    "Drug_B_10uM": 0.08,
    "Serum_starved": 0.12,
}
REPLICATES = ("day1", "day2")
NO_EDU = "No_EdU"
NO_EDU_FIELDS = 3
"""Fields of the control in each replicate: its 99th percentile wants 300 nuclei and more."""
PIXEL_SIZE_UM = 0.65
LEAST_AREA_PX = 15
SETTINGS = {
    "model": "demo",
    "diameter": 37.0,
    "count_model": "demo",
    "count_diameter": 24.0,
    "rolling_ball": 50.0,
    "edu_control": NO_EDU,
    "control": "DMSO",
}


@dataclass(frozen=True)
class Comparison:
    """One condition: what is true and what was measured.

    Attributes
    ----------
    condition : str
    true_cells, measured_cells, found : int
        `found` true cells have a measured cell at an intersection over union above 0.5.
    true_mean, measured_mean : float
        Mean over cells of ImageJ's Mean after ImageJ's rolling ball: on the true and on the found outlines.
    signal_mean : float
        Mean over true cells of the light that comes from the cells alone.
    true_contrast, measured_contrast : float
        Median of the positive cells minus median of the others: those that took up EdU, and those that are called.
    true_share, measured_share : float
        Share of cells that took up EdU; share of nuclei called positive, net of the control's false positives.
    """

    condition: str
    true_cells: int
    measured_cells: int
    found: int
    true_mean: float
    measured_mean: float
    signal_mean: float
    true_contrast: float
    measured_contrast: float
    true_share: float
    measured_share: float

    @property
    def passed(self) -> bool:
        """95 % of the cells found, means and contrast within 5 %, share within 2 points."""
        return (
            self.found >= 0.95 * self.true_cells
            and abs(self.measured_mean / self.true_mean - 1) <= 0.05
            and abs(self.measured_contrast / self.true_contrast - 1) <= 0.05
            and abs(self.measured_share - self.true_share) <= 0.02
        )


def run_demo(
    out: Path,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
    size_px: int = 768,
    n_cells: int = 130,
) -> tuple[Report, list[Comparison]]:
    """Make six conditions of synthetic images, run the whole pipeline on them and compare with the truth.

    Parameters
    ----------
    out : Path
        ``images``, ``truth`` and ``results`` are made in it.
    progress, announce : callable, optional
        As in `bridge.run`.
    size_px, n_cells : int
        Size of a field and cells in it.

    Returns
    -------
    Report
    list of Comparison
        One for each condition.
    """
    fields: dict[tuple[str, str], SyntheticField] = {}
    for j, replicate in enumerate(REPLICATES):
        for k in range(NO_EDU_FIELDS):
            nothing = synthetic_field(1000 + NO_EDU_FIELDS * j + k, size_px, n_cells, 0.0)
            _write_field(out, NO_EDU, replicate, nothing, f"f{k + 1}")
    for i, (condition, share) in enumerate(CONDITIONS.items()):
        for j, replicate in enumerate(REPLICATES):
            field = synthetic_field(10 * i + j + 1, size_px, n_cells, share)
            fields[condition, replicate] = field
            _write_field(out, condition, replicate, field)
    report = run(out / "images", out / "results", settings_from(SETTINGS), progress=progress, announce=announce)
    return report, _compare(out / "results", fields)


def _write_field(out: Path, condition: str, replicate: str, field: SyntheticField, name: str = "f1") -> None:
    import tifffile

    calibration = Calibration(PIXEL_SIZE_UM, PIXEL_SIZE_UM, "micron")
    folder = out / "images" / condition / replicate
    for channel, pixels in (("phase", field.phase), ("EdU", field.edu), ("TO-PRO-3", field.topro)):
        path = folder / f"{name}_{channel}.tif"
        if path.is_file():
            continue
        with whole_file(path) as part:
            tifffile.imwrite(
                part, pixels, imagej=True, resolution=(1 / PIXEL_SIZE_UM,) * 2, metadata={"axes": "YX", "unit": "um"}
            )
    for suffix, labels in (("mask", field.cells), ("nuclei_mask", field.nuclei)):
        path = out / "truth" / f"{condition}_{replicate}_{name}_{suffix}.tif"
        if not path.is_file():
            write_labels(path, labels, calibration)


def _compare(results: Path, fields: dict[tuple[str, str], SyntheticField]) -> list[Comparison]:
    import pandas as pd

    cells, shares = pd.read_csv(results / "cells.csv"), pd.read_csv(results / "shares.csv")
    share = shares[shares["level"] == "condition"].set_index("condition")["share"] / 100
    comparisons = []
    with FijiEngine() as imagej:
        for condition in CONDITIONS:
            true: list[npt.NDArray[np.float64]] = []
            signal: list[npt.NDArray[np.float64]] = []
            positive: list[npt.NDArray[np.bool_]] = []
            found = 0
            for replicate in REPLICATES:
                field = fields[condition, replicate]
                large = label_areas(field.cells)[label_ids(field.cells)] >= LEAST_AREA_PX
                measured = imagej.measure(field.edu, selections_of(field.cells), "truth")
                true.append(measured.columns["Mean"][large])
                light = np.bincount(field.cells.ravel(), field.signal.ravel())[1:] / label_areas(field.cells)[1:]
                signal.append(light[large])
                positive.append(field.positive[label_ids(field.cells)][large])
                mask = results / "masks" / condition / f"{condition}_{replicate}_f1_mask.tif"
                if mask.is_file():
                    found += match_labels(field.cells, read_labels(mask), LEAST_AREA_PX).true.size
            mine = cells[cells["condition"] == condition]
            values, called = mine[measure_column("EdU", "Mean")].to_numpy(np.float64), mine["EdU_positive"] == True  # noqa: E712
            means, truth = np.concatenate(true), np.concatenate(positive)
            comparisons.append(
                Comparison(
                    condition,
                    means.size,
                    len(mine),
                    found,
                    float(means.mean()),
                    float(values.mean()),
                    float(np.concatenate(signal).mean()),
                    _contrast(means, truth),
                    _contrast(values, called.to_numpy(np.bool_)),
                    float(truth.mean()),
                    float(share.get(condition, np.nan)),
                )
            )
    return comparisons


def _contrast(means: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    # Medians: one in a hundred negatives is above the gate by its definition.
    return float(np.median(means[positive]) - np.median(means[~positive]))
