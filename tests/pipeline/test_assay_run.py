"""Nuclei as a compartment of their own, gates and shares, in a whole run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from small import DEMO, tree

import bridge
from bridge.assay.nuclei import cell_of_nuclei
from bridge.calibration import Calibration
from bridge.errors import InputError
from bridge.imagej.background import Background
from bridge.imagej.fiji import FijiEngine
from bridge.images.label_images import read_labels
from bridge.pipeline.run import Report, run
from bridge.rois.roiset import read_roiset, selections_of, verify_roiset

CALIBRATION = Calibration(0.5, 0.5, "micron")


def test_nuclei_are_measured_as_cells_are(finished: tuple[Path, Path, Report], imagej: FijiEngine) -> None:
    images, out, _ = finished
    nuclei, cells = pd.read_csv(out / "nuclei.csv"), pd.read_csv(out / "cells.csv")
    counts = pd.read_csv(out / "counts.csv").set_index("field_id")
    for field, condition, replicate in (("DMSO_day1_f1", "DMSO", "day1"), ("Drug_day2_f1", "Drug", "day2")):
        labels = read_labels(out / "masks" / condition / f"{field}_nuclei_mask.tif")
        of_cells = read_labels(out / "masks" / condition / f"{field}_mask.tif")
        verify_roiset(read_roiset(out / "rois" / condition / f"{field}_nuclei_RoiSet.zip", labels.shape), labels)
        mine = nuclei[nuclei["field_id"] == field]
        owner = cell_of_nuclei(labels, of_cells)
        assert mine["cell"].fillna(0).astype(int).tolist() == owner.tolist()
        own = cells[cells["field_id"] == field].set_index("label")
        for channel in ("EdU", "TO-PRO-3"):
            image = tifffile.imread(images / condition / replicate / f"f1_{channel}.tif")
            measured = imagej.measure(image, selections_of(labels), f"f1_{channel}.tif", Background(50), CALIBRATION)
            saved = out / "measurements" / condition / f"{field}_nuclei_{channel}_Results.csv"
            assert saved.read_bytes() == measured.results_csv
            for heading in ("Mean", "IntDen", "Max"):
                np.testing.assert_array_equal(mine[f"nucleus_{channel}_{heading}"], measured.columns[heading])
            # All nuclei of a cell together: as ImageJ measures one ROI of all their pixels.
            union = np.zeros_like(of_cells)
            for nucleus, cell in zip(mine["label"], owner, strict=True):
                union[labels == nucleus] = cell
            together = imagej.measure(image, selections_of(union), "x.tif", Background(50), CALIBRATION)
            with_nucleus = own[own["n_nuclei"] > 0]
            np.testing.assert_allclose(with_nucleus[f"nucleus_{channel}_Mean"], together.columns["Mean"], rtol=1e-9)
            np.testing.assert_allclose(
                with_nucleus[f"nucleus_{channel}_RawIntDen"], together.columns["RawIntDen"], rtol=1e-9
            )
        assert own["n_nuclei"].sum() == (owner > 0).sum()
        assert counts.loc[field, "n_orphan_nuclei"] == (owner == 0).sum()
        assert counts.loc[field, "n_cells_without_nucleus"] == (own["n_nuclei"] == 0).sum()
        assert counts.loc[field, "n_cells_with_several"] == (own["n_nuclei"] > 1).sum()


@pytest.mark.slow
def test_rings_are_measured_as_cells_are(
    finished: tuple[Path, Path, Report], tmp_path: Path, imagej: FijiEngine
) -> None:
    images, out = finished[0], tmp_path / "out"
    assert run(images, out, **DEMO, ring=4).exit_code == 0
    table = pd.read_csv(out / "nuclei.csv")
    before = pd.read_csv(finished[1] / "nuclei.csv")
    pd.testing.assert_frame_equal(table[before.columns], before)
    field, condition, replicate = "Drug_day2_f1", "Drug", "day2"
    rings = read_labels(out / "masks" / condition / f"{field}_rings_mask.tif")
    nuclei = read_labels(out / "masks" / condition / f"{field}_nuclei_mask.tif")
    cells = read_labels(out / "masks" / condition / f"{field}_mask.tif")
    assert not ((rings > 0) & (nuclei > 0)).any()
    verify_roiset(read_roiset(out / "rois" / condition / f"{field}_rings_RoiSet.zip", rings.shape), rings)
    image = tifffile.imread(images / condition / replicate / "f1_EdU.tif")
    measured = imagej.measure(image, selections_of(rings), "f1_EdU.tif", Background(50), CALIBRATION)
    saved = out / "measurements" / condition / f"{field}_rings_EdU_Results.csv"
    assert saved.read_bytes() == measured.results_csv
    mine = table[table["field_id"] == field].set_index("label")
    with_ring = mine[mine["ring_area_px2"] > 0]
    np.testing.assert_array_equal(with_ring["ring_EdU_Mean"], measured.columns["Mean"])
    for label, cell in with_ring["cell"].fillna(0).items():
        assert set(np.unique(cells[rings == label])) == {int(cell)}
    assert mine.loc[mine["ring_area_px2"] == 0, "ring_EdU_Mean"].isna().all()


def test_calls_and_shares_agree(finished: tuple[Path, Path, Report]) -> None:
    _, out, _ = finished
    nuclei, cells, shares = (pd.read_csv(out / name) for name in ("nuclei.csv", "cells.csv", "shares.csv"))
    assert (nuclei["EdU_positive"] == (nuclei["nucleus_EdU_Mean"] > 300)).all()
    for _, row in shares[shares["level"] == "replicate"].iterrows():
        own = nuclei[(nuclei["condition"] == row["condition"]) & (nuclei["replicate"] == row["replicate"])]
        assert (row["n_units"], row["n_positive"]) == (len(own), own["EdU_positive"].sum())
    inside = nuclei[nuclei["cell"].notna()].groupby(["field_id", "cell"])["EdU_positive"].any()
    called = cells[cells["n_nuclei"] > 0].set_index(["field_id", "label"])["EdU_positive"]
    assert (called.astype(bool) == inside.reindex(called.index)).all()
    assert cells.loc[cells["n_nuclei"] == 0, "EdU_positive"].isna().all()


@pytest.mark.slow
def test_another_gate_measures_nothing_again(finished: tuple[Path, Path, Report], tmp_path: Path) -> None:
    images, _, _ = finished
    out = tmp_path / "out"
    run(images, out, **DEMO)
    before = {path: path.stat().st_mtime_ns for path in out.glob("m*/*/*")}
    report = run(images, out, **{**DEMO, "edu_threshold": ["2000"], "control": "Drug"})  # no --update
    assert report.exit_code == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    nuclei = pd.read_csv(out / "nuclei.csv")
    assert (nuclei["EdU_positive"] == (nuclei["nucleus_EdU_Mean"] > 2000)).all()
    assert pd.read_csv(out / "comparisons.csv")["control"].eq("Drug").all()
    run(images, out, **DEMO)
    run(images, tmp_path / "fresh", **DEMO)
    assert tree(out) == tree(tmp_path / "fresh")


def test_cells_are_the_unit_without_nuclei(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, masks=experiment.parent / "masks", count="none", edu_control="Drug")
    cells, gates = pd.read_csv(out / "cells.csv"), pd.read_csv(out / "gates.csv")
    assert not (out / "nuclei.csv").exists()
    assert gates["method"].tolist() == ["control", "control"]
    assert gates["note"].tolist() == ["only 8 control cells: the gate is uncertain (expected 300 and more)"] * 2
    for _, gate in gates.iterrows():
        own = cells[cells["replicate"] == gate["replicate"]]
        assert (own["EdU_positive"] == (own["cell_EdU_Mean"] > gate["value"])).all()
    shares = pd.read_csv(out / "shares.csv")
    assert set(shares["unit"]) == {"cell"}
    assert (shares["share"] >= 0).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"edu_control": "<script>"},
            "--edu-control <script>: no such condition (got DMSO, Drug). Give the name of one of them.",
        ),
        (
            {"ring": 3},
            "--ring: no channel with nuclei (expected one). Name it with --count, or leave --ring out.",
        ),
        (
            {"control": "Zähler/ü"},
            "--control Zähler/ü: no such condition (got DMSO, Drug). Give the name of one of them.",
        ),
        (
            {"positive": ["pH3"]},
            "--positive pH3: not measured (got EdU). Name a measured channel, or add it to --measure.",
        ),
    ],
)
def test_what_does_not_exist(experiment: Path, options: dict[str, object], text: str) -> None:
    with pytest.raises(InputError) as refused:
        bridge.plan(experiment, masks=experiment.parent / "masks", count="none", **options)
    assert str(refused.value) == text


def test_a_gate_above_every_cell(experiment: Path, tmp_path: Path) -> None:
    out, given = tmp_path / "out", {"masks": experiment.parent / "masks", "count": "none"}
    run(experiment, out, **given, edu_threshold=["60000"])
    shares = pd.read_csv(out / "shares.csv")
    assert (shares["n_positive"] == 0).all()
    assert (shares["share"] == 0).all()
    assert (shares["high"] > 0).all()
    run(experiment, out, **given, positive=["none"])
    assert not (out / "figures" / "EdU_positive.png").exists()
    assert "EdU_positive" not in pd.read_csv(out / "cells.csv")
