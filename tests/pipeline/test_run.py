"""The whole way on small images with real Cellpose and real ImageJ: results, failures, resume, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import tifffile
from small import DEMO, given, tree

import bridge
from bridge.calibration import Calibration
from bridge.errors import BridgeError, InputError
from bridge.imagej.background import Background
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.statistics import statistics
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import label_ids
from bridge.pipeline.progress import Progress
from bridge.pipeline.run import Report, run
from bridge.rois.roiset import read_roiset, selections_of, verify_roiset


def test_a_run_leaves_every_file(finished: tuple[Path, Path, Report]) -> None:
    _, out, report = finished
    assert report.exit_code == 0
    assert report.failures == ()
    assert (report.done, len(report.plan.fields)) == (4, 4)
    names = set(tree(out, skip=()))
    fields = {f"{c}_{r}_f1": c for c in ("DMSO", "Drug") for r in ("day1", "day2")}
    expected = {
        "run.json",
        "failures.csv",
        "fields.csv",
        "cells.csv",
        "checks.csv",
        "phases.csv",
        "variance.csv",
        "counts.csv",
        "replicates.csv",
        "nuclei.csv",
        "gates.csv",
        "shares.csv",
        "comparisons.csv",
        "conditions/all_conditions.xlsx",
        "overlays/all_conditions.png",
        "report.html",
        "methods.txt",
        "legend.txt",
    }
    for field, condition in fields.items():
        expected |= {
            f"masks/{condition}/{field}_mask.tif", f"masks/{condition}/{field}_nuclei_mask.tif", f"rois/{condition}/{field}_RoiSet.zip",
            f"rois/{condition}/{field}_nuclei_RoiSet.zip",
            *(f"measurements/{condition}/{field}_{of}{c}_Results.csv" for of in ("", "nuclei_") for c in ("EdU", "TO-PRO-3")),
            *(f"overlays/{condition}/{field}_{c}.png" for c in ("phase", "EdU", "TO-PRO-3")),
            *(f"pictures/{condition}/{field}_{c}.webp" for c in ("phase", "EdU", "TO-PRO-3")),
            *(f"pictures/{condition}/{field}_{what}_ids.png" for what in ("cell", "nucleus")),
        }  # fmt: skip
    for condition in ("DMSO", "Drug"):
        expected |= {f"conditions/{condition}.csv", f"conditions/{condition}.xlsx", f"overlays/{condition}.png"}
    expected |= {
        f"figures/{name}.{kind}"
        for name in ("EdU_positive", "nucleus_EdU_Mean", "EdU_Mean", "EdU_IntDen", "cells_and_nuclei", "DNA_and_EdU")
        for kind in ("png", "svg")
    }
    assert {name for name in names if not name.startswith("records/")} == expected


def test_cells_are_imagejs_numbers_in_full(finished: tuple[Path, Path, Report], imagej: FijiEngine) -> None:
    images, out, report = finished
    cells = pd.read_csv(out / "cells.csv", float_precision="round_trip", keep_default_na=False)
    assert len(cells) == report.n_cells > 10
    for field, condition, replicate in (("DMSO_day1_f1", "DMSO", "day1"), ("Drug_day2_f1", "Drug", "day2")):
        labels = read_labels(out / "masks" / condition / f"{field}_mask.tif")
        verify_roiset(read_roiset(out / "rois" / condition / f"{field}_RoiSet.zip", labels.shape), labels)
        edu = tifffile.imread(images / condition / replicate / "f1_EdU.tif")
        roiset = selections_of(labels)
        measured = imagej.measure(edu, roiset, "f1_EdU.tif", Background(50), Calibration(0.5, 0.5, "micron"))
        mine = cells[cells["field_id"] == field]
        assert mine["label"].tolist() == label_ids(labels).tolist()
        for heading in ("Mean", "StdDev", "Min", "Max", "IntDen", "RawIntDen"):
            np.testing.assert_array_equal(mine[f"cell_EdU_{heading}"].to_numpy(), measured.columns[heading])
        np.testing.assert_array_equal(mine["cell_EdU_raw_Mean"].to_numpy(), statistics(edu, roiset).mean)
        np.testing.assert_array_equal(mine["cell_area_um2"].to_numpy(), measured.columns["Area"])
        np.testing.assert_array_equal(mine["cell_x_px"].to_numpy(), measured.columns["X"] / 0.5)
        np.testing.assert_array_equal(mine["cell_y_px"].to_numpy(), measured.columns["Y"] / 0.5)
        saved = (out / "measurements" / condition / f"{field}_EdU_Results.csv").read_bytes()
        assert saved == measured.results_csv


def test_tables_agree_with_each_other(finished: tuple[Path, Path, Report]) -> None:
    _, out, _ = finished
    cells = pd.read_csv(out / "cells.csv")
    counts = pd.read_csv(out / "counts.csv")
    replicates = pd.read_csv(out / "replicates.csv")
    assert counts["n_cells"].tolist() == cells.groupby("field_id").size().reindex(counts["field_id"]).tolist()
    for _, row in replicates.iterrows():
        part = cells[(cells["condition"] == row["condition"]) & (cells["replicate"] == row["replicate"])]
        assert row["n_cells"] == len(part)
        assert row["cell_EdU_Mean_mean"] == pytest.approx(part["cell_EdU_Mean"].mean(), rel=1e-14)
        assert row["cell_EdU_Mean_median"] == part["cell_EdU_Mean"].median()
    book = openpyxl.load_workbook(out / "conditions" / "all_conditions.xlsx")
    assert book.sheetnames == [
        "shares",
        "comparisons",
        "summary",
        "replicates",
        "phases",
        "counts",
        "variance",
        "gates",
        "checks",
        "all cells",
        "all nuclei",
        "DMSO",
        "Drug",
        "Prism EdU share (Column)",
        "Prism EdU mean (Column)",
        "Prism EdU cells (Nested)",
        "settings",
        "columns",
    ]
    assert book["DMSO"].max_row == 1 + (cells["condition"] == "DMSO").sum()
    explained = {cell.value for row in book["columns"].iter_rows(min_row=2) for cell in row[:2]}
    used = {cell.value for name in book.sheetnames[:-5] for cell in book[name][1]}
    assert used <= explained
    sheet = book["all cells"]
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == (
        "F2",
        f"A1:{sheet.cell(1, sheet.max_column).column_letter}{len(cells) + 1}",
    )
    headings = [cell.value for cell in sheet[1]]
    at = headings.index("EdU of the cell: mean after background subtraction (grey level)")
    assert [row[at].value for row in sheet.iter_rows(min_row=2)] == cells["cell_EdU_Mean"].tolist()
    share = [[cell.value for cell in row] for row in book["Prism EdU share (Column)"].iter_rows()]
    assert share[0] == ["replicate", "DMSO", "Drug"]
    shares = (
        pd.read_csv(out / "shares.csv").query("level == 'replicate'").set_index(["condition", "replicate"])["share"]
    )
    assert share[1][1:] == [shares["DMSO", share[1][0]], shares["Drug", share[1][0]]]
    nested = [[cell.value for cell in row] for row in book["Prism EdU cells (Nested)"].iter_rows()]
    nuclei = pd.read_csv(out / "nuclei.csv", float_precision="round_trip")
    assert nested[:2] == [["DMSO", "DMSO", "Drug", "Drug"], ["day1", "day2", "day1", "day2"]]
    assert sum(v is not None for row in nested[2:] for v in row) == len(nuclei)


def test_run_json_holds_what_is_needed_to_repeat(finished: tuple[Path, Path, Report]) -> None:
    _, out, report = finished
    record = json.loads((out / "run.json").read_text("utf-8"))
    assert record["state"] == "done"
    assert record["rois"] == {"rois": report.n_cells, "labels": report.n_cells, "different_px": 0}
    assert record["imagej"]["imagej"] == "1.54p"
    assert len(record["models"]["segment"]["sha256"]) == 64
    assert len(record["inputs"]) == 12
    assert record["settings"]["rolling_ball"] == 50.0


def test_the_same_command_again_changes_nothing(finished: tuple[Path, Path, Report]) -> None:
    images, out, _ = finished
    before = {
        path: path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.is_file()
        and path.name not in ("run.json", "failures.csv", "fields.csv", "failures.json", "plan.json")
        and path.parent.name != "_seen"
    }
    assert run(images, out, **DEMO).exit_code == 0
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(finished: tuple[Path, Path, Report], tmp_path: Path) -> None:
    images, out, _ = finished
    run(images, tmp_path / "again", **DEMO)
    assert tree(tmp_path / "again") == tree(out)


# ---------------------------------------------------------------- one bad field of many


@pytest.mark.slow
def test_one_bad_field_is_named_and_the_others_finish(experiment: Path, tmp_path: Path) -> None:
    bad = experiment / "Drug" / "day1" / "f1_EdU.tif"
    pixels = tifffile.imread(bad)
    tifffile.imwrite(bad, pixels, compression="zlib", rowsperstrip=16)
    with tifffile.TiffFile(bad) as tif:
        offset, count = tif.pages[0].dataoffsets[5], tif.pages[0].databytecounts[5]
    content = bytearray(bad.read_bytes())
    content[offset + 10 : offset + count] = bytes(count - 10)
    bad.write_bytes(content)
    report = run(experiment, tmp_path / "out", **given(experiment))
    assert report.exit_code == 1
    assert report.done == 3
    (failure,) = report.failures
    assert (failure.field_id, failure.step, failure.error) == ("Drug_day1_f1", "measure", "InputError")
    assert failure.message.startswith(f"{bad}: damaged TIFF (")
    table = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert table["field_id"].tolist() == ["Drug_day1_f1"]
    assert set(pd.read_csv(tmp_path / "out" / "cells.csv")["field_id"]) == {
        "DMSO_day1_f1",
        "DMSO_day2_f1",
        "Drug_day2_f1",
    }
    # Mended, the same command goes on, and the result is that of a run without the fault.
    tifffile.imwrite(bad, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "YX", "unit": "um"})
    assert run(experiment, tmp_path / "out", **given(experiment)).exit_code == 0
    run(experiment, tmp_path / "fresh", **given(experiment))
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_fields_with_problems_in_the_plan_fail_by_name(experiment: Path, tmp_path: Path) -> None:
    (experiment / "Drug" / "day1" / "f1_EdU.tif").unlink()
    report = run(experiment, tmp_path / "out", **given(experiment))
    assert (report.exit_code, report.done) == (1, 3)
    assert [(f.field_id, f.step) for f in report.failures] == [("Drug_day1_f1", "plan")]


def test_nothing_can_be_done_when_every_field_has_a_problem(tmp_path: Path) -> None:
    (tmp_path / "images" / "A").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "images" / "A" / "f1_phase.tif", np.ones((9, 9), np.uint16))
    tifffile.imwrite(tmp_path / "images" / "A" / "f1_EdU.tif", np.ones((8, 9), np.uint16))
    with pytest.raises(InputError, match=r"not one field can be processed \(got 1, each with a problem\)"):
        run(tmp_path / "images", tmp_path / "out", **DEMO)


def test_colour_edu_fails_its_field(experiment: Path, tmp_path: Path) -> None:
    path = experiment / "DMSO" / "day1" / "f1_EdU.tif"
    rgb = np.zeros((160, 160, 3), np.uint8)
    rgb[..., 0], rgb[..., 1] = 3, np.arange(160)
    tifffile.imwrite(path, rgb, photometric="rgb")
    report = run(experiment, tmp_path / "out", **given(experiment))
    assert [f.message for f in report.failures] == [
        f"{path}: a colour image with signal in red and green (expected one channel; ImageJ would measure the average of the three). "
        "Split the channels, or name one with --rgb-channel."
    ]


def test_a_field_too_small_for_the_ball_fails_and_is_done_without_it(experiment: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    for condition, shape in (("A", (4, 60)), ("B", (40, 60))):
        folder = tmp_path / "small" / condition
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "f1_EdU.tif", np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape))
        labels = np.zeros(shape, np.uint16)
        labels[1:3, 5:9] = 4
        write_labels(masks / f"{condition}_f1_mask.tif", labels)
    report = run(tmp_path / "small", tmp_path / "out", masks=masks)
    assert [f.message for f in report.failures] == [
        "f1_EdU.tif: too small for a rolling ball of radius 50 px (got 4 x 60 px, expected sides of at least 5 px). "
        "Use a smaller radius, or --rolling-ball none."
    ]
    assert run(tmp_path / "small", tmp_path / "out2", masks=masks, rolling_ball="none").exit_code == 0
    assert pd.read_csv(tmp_path / "out2" / "cells.csv")["label"].tolist() == [4, 4]


# ---------------------------------------------------------------- valid results that look like nothing


def test_a_field_without_cells_is_a_result(experiment: Path, tmp_path: Path) -> None:
    for name in ("phase", "TO-PRO-3"):
        path = experiment / "Drug" / "day1" / f"f1_{name}.tif"
        tifffile.imwrite(path, np.full((160, 160), 500, np.uint16))
    report = run(experiment, tmp_path / "out", **DEMO)
    assert report.exit_code == 0
    counts = pd.read_csv(tmp_path / "out" / "counts.csv").set_index("field_id")
    assert counts.loc["Drug_day1_f1", ["n_cells", "n_nuclei"]].tolist() == [0, 0]
    results = tmp_path / "out" / "measurements" / "Drug" / "Drug_day1_f1_EdU_Results.csv"
    assert results.read_text().rstrip() == " ,Label,Area,Mean,StdDev,Min,Max,X,Y,IntDen,RawIntDen"
    replicates = pd.read_csv(tmp_path / "out" / "replicates.csv")
    assert replicates["n_cells"].tolist()[2] == 0


def test_no_cells_anywhere(tmp_path: Path) -> None:
    for condition in ("A", "B"):
        (tmp_path / "images" / condition).mkdir(parents=True)
        for channel in ("phase", "EdU"):
            tifffile.imwrite(tmp_path / "images" / condition / f"f1_{channel}.tif", np.full((64, 64), 9, np.uint16))
    report = run(tmp_path / "images", tmp_path / "out", **DEMO)
    assert (report.exit_code, report.n_cells) == (0, 0)
    assert (tmp_path / "out" / "figures" / "EdU_Mean.png").is_file()


@pytest.mark.slow
def test_no_field_finishes(experiment: Path, tmp_path: Path) -> None:
    for path in experiment.rglob("*_EdU.tif"):
        tifffile.imwrite(path, np.full((160, 160), np.nan, np.float32))
    report = run(experiment, tmp_path / "out", **DEMO)
    assert (report.exit_code, report.done, report.n_cells) == (1, 0, 0)
    assert [failure.step for failure in report.failures] == ["measure"] * 4
    assert pd.read_csv(tmp_path / "out" / "shares.csv").empty


def test_without_a_measure_channel_the_run_ends_at_areas(experiment: Path, tmp_path: Path) -> None:
    report = run(experiment, tmp_path / "out", **DEMO, measure="none", count="none")
    assert report.exit_code == 0
    assert not (tmp_path / "out" / "measurements").exists()
    assert (tmp_path / "out" / "figures" / "cell_area.svg").is_file()
    assert pd.read_csv(tmp_path / "out" / "cells.csv")["cell_area_um2"].notna().all()


def test_label_images_of_others_instead_of_cellpose(finished: tuple[Path, Path, Report], tmp_path: Path) -> None:
    images, out, _ = finished
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in out.glob("masks/*/*f1_mask.tif"):
        labels = read_labels(path).astype(np.uint32) * 1000  # ids with gaps, above 65,535
        tifffile.imwrite(masks / path.name.replace("_mask", "_cp_masks"), labels)
    report = run(images, tmp_path / "out", masks=masks, count="none")
    assert report.exit_code == 0
    ours = pd.read_csv(tmp_path / "out" / "cells.csv", float_precision="round_trip")
    theirs = pd.read_csv(out / "cells.csv", float_precision="round_trip")
    assert ours["label"].tolist() == (theirs["label"] * 1000).tolist()
    np.testing.assert_array_equal(ours["cell_EdU_Mean"], theirs["cell_EdU_Mean"])


def test_label_image_of_another_size(finished: tuple[Path, Path, Report], tmp_path: Path) -> None:
    images, _, _ = finished
    for c in ("DMSO", "Drug"):
        for r in ("day1", "day2"):
            write_labels(
                tmp_path / "masks" / f"{c}_{r}_f1_mask.tif", np.ones((160, 160 if r == "day1" else 150), np.uint16)
            )
    report = run(images, tmp_path / "out", masks=tmp_path / "masks", count="none")
    mask = tmp_path / "masks" / "DMSO_day2_f1_mask.tif"
    assert report.failures[0].message == (
        f"{mask}: not the size of its images (got 160 x 150, expected 160 x 160 px). Use the label image of this field."
    )


# ---------------------------------------------------------------- what the user is told


def test_warnings_about_the_numbers(experiment: Path, tmp_path: Path) -> None:
    path = experiment / "DMSO" / "day1" / "f1_EdU.tif"
    pixels = np.minimum(tifffile.imread(path), 1500)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "YX", "unit": "um"})
    report = run(experiment, tmp_path / "out", **given(experiment), rolling_ball=12)
    saturated, radius = report.warnings
    assert radius.startswith(
        "4 of 4 fields: the rolling ball (radius 12 px) is smaller than the largest cells (95th percentile of their extent: "
    )
    assert "so part of their own signal is subtracted; give --rolling-ball " in radius
    assert ", or see with cellpose-fiji robustness whether a larger one changes anything (" in radius
    assert saturated.startswith("1 of 4 fields: EdU: saturated in the cells (")
    assert saturated.endswith("of their pixels at grey level 1500); their means are too low (DMSO_day1_f1)")
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    labels = read_labels(tmp_path / "out" / "masks" / "DMSO" / "DMSO_day1_f1_mask.tif")
    expected = np.bincount(labels[pixels == 1500], minlength=labels.max() + 1)[1:]
    assert cells.loc[cells["field_id"] == "DMSO_day1_f1", "cell_EdU_saturated_px"].tolist() == expected.tolist()


def test_progress_and_model_are_told(experiment: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    said: list[str] = []
    run(experiment, tmp_path / "out", **DEMO, progress=steps.append, announce=said.append)
    assert steps[0] == Progress(0, 0, 4, "DMSO_day1_f1: cells")
    assert steps[-1] == Progress(4, 0, 4, "done")
    assert [line.split(" (SHA-256")[0] for line in said] == [
        "phase: Cellpose model demo",
        "TO-PRO-3: Cellpose model demo",
    ]


def test_the_subtracted_image_is_kept_on_request(experiment: Path, tmp_path: Path, imagej: FijiEngine) -> None:
    run(experiment, tmp_path / "out", **given(experiment), save_subtracted=True)
    path = tmp_path / "out" / "measurements" / "Drug" / "Drug_day2_f1_EdU_subtracted.tif"
    edu = tifffile.imread(experiment / "Drug" / "day2" / "f1_EdU.tif")
    expected = imagej.measure(
        edu, selections_of(np.zeros(edu.shape, np.uint16)), "x", Background(50), return_pixels=True
    ).pixels
    np.testing.assert_array_equal(tifffile.imread(path), expected)


def test_pixel_size_of_the_user_overrides_the_files(experiment: Path, tmp_path: Path) -> None:
    run(experiment, tmp_path / "out", **given(experiment), pixel_size=2.0)
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    np.testing.assert_array_equal(cells["cell_area_um2"], cells["cell_area_px2"] * 4.0)


@pytest.mark.slow
def test_what_the_network_found_and_dropped_is_counted(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.pipeline.run_warnings._FEWEST_DROPPED", 1)
    report = run(experiment, tmp_path / "out", **{**DEMO, "diameter": "auto"}, flow_threshold=0.1, border="drop")
    counts = pd.read_csv(tmp_path / "out" / "counts.csv")
    assert (counts["n_dropped_flow"] > 0).any()
    assert (counts["n_dropped_border"] > 0).any()
    assert report.diameters.startswith(f"Diameter: median {counts['diameter_px'].median():.3g} px, ")
    assert report.diameters.endswith("; each in counts.csv")
    worst = (counts["n_dropped_flow"] / (counts["n_dropped_flow"] + counts["n_cells"])).idxmax()
    n, of = int(counts["n_dropped_flow"][worst]), int(counts["n_dropped_flow"][worst] + counts["n_cells"][worst])
    assert any(
        f"the flow threshold drops more than 30% of the objects found ({n} of {of} in {counts['field_id'][worst]}); "
        "look at their overlays; another --diameter may be right (cellpose-fiji preview), or a higher --flow-threshold"
        in text
        for text in report.warnings
    )


@pytest.mark.slow
def test_cells_and_nuclei_that_differ_are_pointed_out(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.pipeline.run_warnings._FEWEST_UNLIKE", 2)
    masks = experiment.parent / "masks"
    path = masks / "DMSO_day1_f1_mask.tif"
    labels = read_labels(path)
    write_labels(path, np.where(labels == labels.max(), labels, 0).astype(np.uint16))
    report = run(experiment, tmp_path / "out", masks=masks, count_model="demo", count_diameter=24.0, device="cpu")
    counts = pd.read_csv(tmp_path / "out" / "counts.csv", index_col=0)
    nuclei = counts.loc["DMSO_day1_f1", "n_nuclei"]
    assert counts["n_dropped_flow"].isna().all()
    assert (
        f"1 of 4 fields: cells and nuclei differ more than twofold (1 cells, {nuclei} nuclei in DMSO_day1_f1); "
        "one of the two was not found well: look at the overlays"
    ) in report.warnings


# ---------------------------------------------------------------- the steps alone


def test_errors_have_one_root() -> None:
    assert issubclass(InputError, BridgeError)
    assert bridge.BridgeError is BridgeError
