"""Cells in one table or in parts: the same cells, the same figures, and every verb reads both."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from small import DEMO, given, make_experiment, tree

import bridge
from bridge.pipeline import finished_rows
from bridge.pipeline.finished_run import open_run
from bridge.pipeline.run import run
from bridge.pipeline.steps import workbooks
from bridge.tables import CELL, NUCLEUS


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run in both forms, with cells and nuclei."""
    folder = tmp_path_factory.mktemp("both")
    images = make_experiment(folder / "images")
    for form in ("csv", "parquet"):
        assert run(images, folder / form, **DEMO, engine="native", cell_table=form).exit_code == 0
    return folder / "csv", folder / "parquet"


def test_the_same_cells_in_parts(both: tuple[Path, Path]) -> None:
    csv, parquet = (tree(out, skip=("run.json", "tables.json", "figures.json")) for out in both)
    alone = {name for name in csv if name in ("cells.csv", "nuclei.csv") or (name.startswith("conditions/") and name.endswith(".csv"))}  # fmt: skip
    parts = {f"{what}.parquet/condition={name}/part-0.parquet" for what in ("cells", "nuclei") for name in ("DMSO", "Drug")}  # fmt: skip
    assert csv.keys() - parquet.keys() == alone
    assert parquet.keys() - csv.keys() == parts
    differing = {name for name in csv.keys() & parquet.keys() if csv[name] != parquet[name]}
    assert differing == {"conditions/all_conditions.xlsx", "report.html"}  # the settings are in both
    for what in (CELL, NUCLEUS):
        one, other = (open_run(out).rows(what) for out in both)
        pd.testing.assert_frame_equal(one, other, check_exact=True)
        assert one["EdU_positive"].any()
    one, other = (open_run(out).rows(CELL, ("cell_EdU_Mean",), {"Drug_day1_f1"}) for out in both)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert 0 < len(one) < 16


def test_others_read_the_folder_as_one_table(both: tuple[Path, Path]) -> None:
    own = pd.read_csv(both[0] / "cells.csv").sort_values(["field_id", "label"])
    found = pd.read_parquet(both[1] / "cells.parquet").sort_values(["field_id", "label"])
    assert set(found.columns) == set(own.columns)
    assert found["condition"].astype(str).tolist() == own["condition"].tolist()
    np.testing.assert_array_equal(found["cell_EdU_Mean"], own["cell_EdU_Mean"])


def test_every_verb_reads_both(both: tuple[Path, Path], tmp_path: Path) -> None:
    """Summaries, figures, what other programs take, a bundle, and the effects of other choices are the same."""
    made = {}
    for out in both:
        own = tmp_path / out.name
        shutil.copytree(out, own)
        before = tree(own, skip=())
        pd.testing.assert_frame_equal(bridge.summarize(own), open_run(out).rows())
        assert tree(own, skip=()) == before
        files = [*bridge.plot(own, own / "plots", area_px=(1, 1e6), border=False), *bridge.plot(own, own / "one", measure="nucleus_EdU_Mean")]  # fmt: skip
        files += bridge.export(own, ["parquet", "anndata", "fcs"], own / "export")
        made[out.name] = {path.relative_to(own).as_posix(): path.read_bytes() for path in files}
        table = bridge.robustness(own).table
        made[out.name]["robustness"] = table.to_csv().encode()
        bridge.export(own, ["r", "csv-semicolon"], own / "r")
        bridge.bundle(own, tmp_path / f"{out.name}.zip")
        assert not bridge.verify(tmp_path / f"{out.name}.zip").differences
    pdf_or_png = {name for name, content in made["csv"].items() if made["parquet"][name] != content and not name.endswith(".h5ad")}  # fmt: skip
    assert not pdf_or_png
    script = (tmp_path / "parquet" / "r" / "figures.R").read_text()
    assert 'units <- "r/nuclei.csv"' in script
    read = pd.read_csv(tmp_path / "parquet" / "r" / "nuclei.csv")
    assert read["nucleus_EdU_Mean"].tolist() == open_run(both[1]).rows(NUCLEUS)["nucleus_EdU_Mean"].tolist()


def test_the_form_changes_and_nothing_of_the_other_stays(both: tuple[Path, Path], tmp_path: Path) -> None:
    out, images = tmp_path / "out", both[0].parent / "images"
    shutil.copytree(both[1], out)
    before = {p: p.stat().st_mtime_ns for p in (out / "measurements").rglob("*.csv")}
    assert run(images, out, **DEMO, engine="native", cell_table="csv").exit_code == 0
    assert tree(out) == tree(both[0])
    assert run(images, out, **DEMO, engine="native", cell_table="parquet").exit_code == 0
    assert tree(out) == tree(both[1])
    assert {p: p.stat().st_mtime_ns for p in before} == before
    # A condition that is left out is in no part, and what a person changed is not lost.
    less = {**DEMO, "engine": "native", "allow_missing": True, "exclude": ["Drug_day1_f1", "Drug_day2_f1"]}
    assert run(images, out, **less, cell_table="parquet").exit_code == 0
    assert [path.name for path in (out / "cells.parquet").iterdir()] == ["condition=DMSO"]
    assert set(pd.read_parquet(out / "cells.parquet")["condition"]) == {"DMSO"}
    part = out / "cells.parquet" / "condition=DMSO" / "part-0.parquet"
    pd.read_parquet(part, partitioning=None).to_parquet(part, compression=None)
    mine = part.read_bytes()
    (failure,) = run(images, out, **less, cell_table="csv").failures
    assert failure.message.startswith(f"{part}: was changed since it was written (its SHA-256 differs). ")
    assert part.read_bytes() == mine


def test_more_rows_than_excel_has(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet unasked; the workbooks keep every other table, and it is said where the cells are."""
    monkeypatch.setattr(finished_rows, "MAX_ROWS", 20)
    monkeypatch.setattr(workbooks, "_MOST_ROWS", 15)
    out = tmp_path / "out"
    report = run(experiment, out, **given(experiment), engine="native")
    said = "all_conditions.xlsx, DMSO.xlsx, Drug.xlsx: without single cells (above 15 rows Excel takes minutes to open a workbook); they are in cells.parquet"
    assert said in report.warnings
    assert not (out / "cells.csv").exists()
    titles = set(openpyxl.load_workbook(out / "conditions" / "all_conditions.xlsx", read_only=True).sheetnames)
    assert "replicates" in titles
    assert not {"all cells", "DMSO", "Drug"} & titles
    assert openpyxl.load_workbook(out / "conditions" / "Drug.xlsx")["Drug"].max_row == 1
    monkeypatch.setattr(workbooks, "_MOST_ROWS", 16)
    report = run(experiment, out, **given(experiment), engine="native", cell_table="csv")
    assert any(text.startswith("all_conditions.xlsx: without single cells (above 16 ") for text in report.warnings)
    assert (out / "cells.csv").read_text().count("\n") == 33
    assert openpyxl.load_workbook(out / "conditions" / "Drug.xlsx")["Drug"].max_row == 17
