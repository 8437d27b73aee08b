"""The steps alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import DEMO, given, tree

from bridge.errors import InputError
from bridge.images.label_images import read_labels
from bridge.pipeline.roiset_verbs import trace
from bridge.pipeline.run import Report, run
from bridge.pipeline.verbs import measure, plot, segment, summarize


def test_steps_alone_give_the_files_of_the_run(finished: tuple[Path, Path, Report], tmp_path: Path) -> None:
    images, out, _ = finished
    mask = segment(images / "DMSO" / "day1" / "f1_phase.tif", tmp_path, **DEMO)
    np.testing.assert_array_equal(read_labels(mask), read_labels(out / "masks" / "DMSO" / "DMSO_day1_f1_mask.tif"))
    roiset = trace(mask, tmp_path)
    assert roiset.name == "f1_phase_RoiSet.zip"
    assert roiset.read_bytes() == (out / "rois" / "DMSO" / "DMSO_day1_f1_RoiSet.zip").read_bytes()
    edu = images / "DMSO" / "day1" / "f1_EdU.tif"
    results = measure(edu, roiset, tmp_path)
    assert results.name == "f1_EdU_Results.csv"
    expected = (out / "measurements" / "DMSO" / "DMSO_day1_f1_EdU_Results.csv").read_bytes()
    assert results.read_bytes() == expected
    assert measure(edu, mask, tmp_path / "from_mask").read_bytes() == expected


def test_tables_and_figures_again_without_the_images(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment))
    before = tree(out)
    for path in [*out.glob("*.csv"), *out.glob("figures/*"), *out.glob("conditions/*")]:
        if path.name not in ("fields.csv", "failures.csv"):
            path.unlink()
    shutil.rmtree(experiment)
    assert len(summarize(out)) == len(pd.read_csv(out / "cells.csv"))
    plot(out)
    assert tree(out) == before


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        summarize(tmp_path)
    assert (
        str(refused.value)
        == f"{tmp_path}: not the folder of a run (no run.json that can be read). Name the folder given with --out."
    )
