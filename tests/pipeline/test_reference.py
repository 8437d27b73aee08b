"""Real images beside the checkout, against ImageJ 1.53t's own results and against figures seen before."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bridge.images.label_images import read_labels
from bridge.pipeline.run import run
from bridge.segmentation.segmenter import Segmenter

CONDITIONS = ("DMSO", "b-DMSO", "b-AZT50uM", "dTQX10uM", "dTQX50uM", "b-PipQX50uM")


def rows(path: Path) -> list[list[str]]:
    """Area, Mean, IntDen and RawIntDen as printed, with their headings; titles and ROI names are each one's own."""
    return [row[2:] for row in csv.reader(path.read_text().splitlines())]


def test_results_equal_imagejs_in_every_printed_digit(shared_data: Path, tmp_path: Path) -> None:
    reference = shared_data / "imagej_reference" / "brdu_hep3b"
    report = run(
        reference,
        tmp_path,
        pattern="Hep3B_{condition}_{channel}.tif",
        masks=reference,
        measurements="area,mean,integrated",
    )
    assert report.failures == ()
    for condition in CONDITIONS:
        ours = rows(tmp_path / "measurements" / condition / f"Hep3B_{condition}_BrdU_Results.csv")
        assert len(ours) > 30
        assert ours == rows(reference / f"Hep3B_{condition}_Results.csv")


def test_results_of_a_field_of_336_nuclei(shared_data: Path, tmp_path: Path) -> None:
    from bridge.pipeline.verbs import measure

    human = shared_data / "imagej_reference" / "human"
    for radius, name in ((50, "rb50_Results"), ("none", "raw_Results")):
        saved = measure(
            human / "human_d1.tif",
            human / "human_dapi_cellpose_masks.tif",
            tmp_path / name,
            measurements="area,mean,integrated",
            rolling_ball=radius,
        )
        ours = rows(saved)
        assert len(ours) == 337
        assert ours == rows(human / f"human_d1_{name}.csv")


def test_six_real_conditions_with_the_original_network(shared_data: Path, tmp_path: Path, cyto_0: Segmenter) -> None:
    panels = shared_data / "brdu_hoechst" / "panels"
    report = run(
        panels, tmp_path, pattern="Hep3B_{condition}_{channel}.tif", segment="Hoechst", model="cyto_0", diameter=50
    )
    assert report.failures == ()
    cells = pd.read_csv(tmp_path / "cells.csv")
    share = (cells["cell_BrdU_raw_Mean"] > 40).groupby(cells["condition"]).mean()
    assert [round(share[c], 3) for c in CONDITIONS] == [0.243, 0.243, 0.213, 0.039, 0.000, 0.019]
    for condition in CONDITIONS:
        mask = read_labels(tmp_path / "masks" / condition / f"Hep3B_{condition}_mask.tif")
        reference = read_labels(shared_data / "imagej_reference" / "brdu_hep3b" / f"Hep3B_{condition}_masks.tif")
        np.testing.assert_array_equal(mask, reference)


def test_phase_contrast_of_t98g(shared_data: Path, tmp_path: Path, cyto_0: Segmenter) -> None:
    report = run(
        shared_data / "phase_t98g",
        tmp_path,
        pattern="train/{field}1/{channel}.tif",
        segment="raw",
        model="cyto_0",
        diameter=60,
    )
    assert report.failures == ()
    assert [f.field_id for f in report.plan.fields] == ["train_set1", "train_set21"]
    assert report.n_cells > 40
    assert (tmp_path / "overlays" / "all.png").is_file()


def test_three_roles_in_one_field(shared_data: Path, tmp_path: Path, cyto_0: Segmenter) -> None:
    options = {"pattern": "AS_09125_{well}D03f00{channel}", "segment": "d2", "measure": "d1", "count": "d0"}
    report = run(
        shared_data / "three_channel_human", tmp_path, **options, model="cyto_0", diameter=30, count_diameter=14
    )
    assert report.failures == ()
    counts = pd.read_csv(tmp_path / "counts.csv")
    assert counts["n_cells"].tolist()[0] > 50
    assert counts["n_nuclei"].tolist()[0] == pytest.approx(336, abs=10)
