"""The whole way on small images with real Cellpose and real ImageJ: results, failures, resume, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import tifffile
from small import DEMO, make_experiment, tree

import bridge
from bridge.calibration import Calibration
from bridge.errors import BridgeError, InputError, MissingDependencyError, OutputError
from bridge.imagej.background import Background
from bridge.imagej.both import DoubleEntry
from bridge.imagej.engine import Measured, Task
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.native import NativeEngine
from bridge.imagej.statistics import statistics
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import label_ids
from bridge.pipeline.progress import Progress
from bridge.pipeline.run import Report, run
from bridge.pipeline.verbs import measure, plot, segment, summarize, trace
from bridge.rois.roiset import read_roiset, selections_of, verify_roiset


def given(experiment: Path) -> dict[str, object]:
    """Settings that take the true label images instead of running Cellpose."""
    return {"masks": experiment.parent / "masks", "count": "none"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Report]:
    """One undisturbed run that the tests only read."""
    folder = tmp_path_factory.mktemp("finished")
    images = make_experiment(folder / "images")
    report = run(images, folder / "results", **DEMO)
    return images, folder / "results", report


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
        "counts.csv",
        "replicates.csv",
        "conditions/all_conditions.xlsx",
    }
    for field, condition in fields.items():
        expected |= {
            f"masks/{condition}/{field}_mask.tif", f"masks/{condition}/{field}_nuclei_mask.tif", f"rois/{condition}/{field}_RoiSet.zip",
            f"measurements/{condition}/{field}_EdU_Results.csv", f"overlays/{condition}/{field}_phase.png", f"overlays/{condition}/{field}_EdU.png",
        }  # fmt: skip
    for condition in ("DMSO", "Drug"):
        expected |= {f"conditions/{condition}.csv", f"conditions/{condition}.xlsx", f"overlays/{condition}.png"}
    expected |= {
        f"figures/{name}.{kind}" for name in ("EdU_Mean", "EdU_IntDen", "cells_and_nuclei") for kind in ("png", "svg")
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
    assert book.sheetnames == ["summary", "replicates", "counts", "DMSO", "Drug", "columns"]
    assert book["DMSO"].max_row == 1 + (cells["condition"] == "DMSO").sum()
    explained = {row[0].value for row in book["columns"].iter_rows(min_row=2)}
    used = {cell.value for name in book.sheetnames[:-1] for cell in book[name][1]}
    assert used == explained


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
        if path.is_file() and path.name not in ("run.json", "failures.csv", "fields.csv")
    }
    assert run(images, out, **DEMO).exit_code == 0
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(finished: tuple[Path, Path, Report], tmp_path: Path) -> None:
    images, out, _ = finished
    run(images, tmp_path / "again", **DEMO)
    assert tree(tmp_path / "again") == tree(out)


# ---------------------------------------------------------------- settings that change


@pytest.mark.slow
def test_other_settings_are_refused_and_update_redoes_only_what_depends_on_them(
    experiment: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    run(experiment, out, **given(experiment))
    masks = {path: path.stat().st_mtime_ns for path in out.rglob("*mask.tif")}
    rois = {path: path.stat().st_mtime_ns for path in out.rglob("*.zip")}
    before = tree(out)
    with pytest.raises(OutputError) as refused:
        run(experiment, out, **given(experiment), rolling_ball=25)
    assert str(refused.value) == (
        f"{out}: holds results of other settings (rolling_ball was 50.0 and is 25.0). "
        "Give --update to run again what depends on them, or name another folder with --out."
    )
    assert tree(out) == before
    report = run(experiment, out, **given(experiment), rolling_ball=25, update=True)
    assert report.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in masks} == masks
    assert {path: path.stat().st_mtime_ns for path in rois} == rois
    run(experiment, tmp_path / "fresh", **given(experiment), rolling_ball=25)
    assert tree(out) == tree(tmp_path / "fresh")


def test_machine_settings_change_no_result(finished: tuple[Path, Path, Report]) -> None:
    images, out, _ = finished
    assert run(images, out, **{**DEMO, "batch_size": 4}, java_memory="2g").exit_code == 0


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


# ---------------------------------------------------------------- killed, changed, in the way


def kill_at(name: str, nth: int, images: Path, out: Path, options: dict[str, object]) -> None:
    """Run in a process that kills itself, without any clean-up, as it is about to put the nth file of a name in place."""
    code = f"""
import os, signal
import bridge.files
real, seen = os.replace, []
def replace(a, b):
    if str(b).endswith({name!r}):
        seen.append(b)
        if len(seen) == {nth}:
            os.kill(os.getpid(), signal.SIGKILL)
    return real(a, b)
bridge.files.os.replace = replace

from bridge.pipeline.run import run
run({str(images)!r}, {str(out)!r}, **{ {k: str(v) if k == "masks" else v for k, v in options.items()}!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


@pytest.mark.slow
def test_killed_while_segmenting_and_resumed_ends_the_same(finished: tuple[Path, Path, Report], tmp_path: Path) -> None:
    images, out, _ = finished
    kill_at("_nuclei_mask.tif", 2, images, tmp_path / "out", DEMO)
    assert run(images, tmp_path / "out", **DEMO).exit_code == 0
    assert tree(tmp_path / "out") == tree(out)


@pytest.fixture(scope="module")
def finished_with_masks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("with_masks")
    images = make_experiment(folder / "images")
    run(images, folder / "results", **given(images))
    return images, folder / "results"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "nth"),
    [
        ("run.json", 1), ("segment.json", 2), ("_mask.tif", 1), ("RoiSet.zip", 2), ("rois.json", 3), ("Results.csv", 2), ("cells.csv", 3),
        ("measure.json", 4), ("phase.png", 2), ("all_conditions.xlsx", 1), ("EdU_Mean.svg", 1), ("run.json", 2),
    ],
)  # fmt: skip
def test_killed_at_any_file_and_resumed_ends_the_same(
    finished_with_masks: tuple[Path, Path], tmp_path: Path, name: str, nth: int
) -> None:
    images, undisturbed = finished_with_masks
    out = tmp_path / "out"
    kill_at(name, nth, images, out, given(images))
    assert run(images, out, **given(images)).exit_code == 0
    assert tree(out) == tree(undisturbed)
    assert not list(out.rglob(".*"))


@pytest.mark.slow
def test_what_a_person_changed_is_not_overwritten(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment))
    mask = out / "masks" / "DMSO" / "DMSO_day1_f1_mask.tif"
    labels = read_labels(mask)
    labels[0:3, 0:3] = labels.max() + 1
    write_labels(mask, labels)
    book = out / "conditions" / "all_conditions.xlsx"
    book.write_bytes(book.read_bytes() + b" ")
    edited = mask.read_bytes(), book.read_bytes()
    report = run(experiment, out, **given(experiment), update=True)
    assert {f.step: f.message for f in report.failures} == {
        "segment": f"{mask}: was changed since it was written (its SHA-256 differs). It is not overwritten: move it elsewhere "
        "and give the same command again.",
        "tables": f"{book}: was changed since it was written (its SHA-256 differs). It is not overwritten: move it elsewhere "
        "and give the same command again.",
    }
    assert (mask.read_bytes(), book.read_bytes()) == edited


def test_a_foreign_file_in_the_way_is_not_overwritten(experiment: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "out" / "masks" / "DMSO" / "DMSO_day1_f1_mask.tif"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    report = run(experiment, tmp_path / "out", **given(experiment))
    assert report.failures[0].message == (
        f"{foreign}: is there already and was not written by this run. It is not overwritten: move it elsewhere, or name another folder with --out."
    )
    assert foreign.read_bytes() == b"mine"
    assert report.done == 3


@pytest.mark.slow
def test_an_image_that_was_exchanged_needs_update(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment))
    before = tree(out)
    path = experiment / "DMSO" / "day1" / "f1_EdU.tif"
    pixels = tifffile.imread(path) + np.uint16(5)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "YX", "unit": "um"})
    with pytest.raises(OutputError) as refused:
        run(experiment, out, **given(experiment))
    assert str(refused.value).startswith("DMSO_day1_f1: its measure step was made from something else (image was ")
    assert str(refused.value).endswith("). Give --update to make it again.")
    assert tree(out) == before  # also the tables
    with pytest.raises(InputError, match=r"the run was stopped \(state stopped, expected done\)"):
        summarize(out)
    assert run(experiment, out, **given(experiment), update=True).exit_code == 0


@pytest.mark.slow
def test_areas_follow_the_image_that_says_the_scale(experiment: Path, tmp_path: Path) -> None:
    for path in experiment.rglob("f1_EdU.tif"):
        tifffile.imwrite(path, tifffile.imread(path))
    out = tmp_path / "out"
    run(experiment, out, **given(experiment))
    first = pd.read_csv(out / "cells.csv")
    for path in experiment.rglob("f1_phase.tif"):
        tifffile.imwrite(
            path, tifffile.imread(path), imagej=True, resolution=(1.0, 1.0), metadata={"axes": "YX", "unit": "um"}
        )
    run(experiment, out, **given(experiment), update=True)
    np.testing.assert_array_equal(pd.read_csv(out / "cells.csv")["cell_area_um2"], first["cell_area_um2"] * 4)


def test_the_folder_of_the_images_is_no_results_folder(experiment: Path) -> None:
    with pytest.raises(OutputError) as refused:
        run(experiment, experiment, **given(experiment))
    assert str(refused.value) == (
        f"{experiment}: is the folder of the images (expected another one). Name a folder of its own with --out, e.g. {experiment / 'results'}."
    )
    assert run(experiment, experiment / "results", **given(experiment)).exit_code == 0
    assert run(experiment, experiment / "results", **given(experiment)).exit_code == 0


def test_a_foreign_plan_is_not_overwritten_and_foreign_parts_stay(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".backup.part").write_text("mine")
    (out / "fields.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"fields\.csv: is there already and was not written by this run"):
        run(experiment, out, **given(experiment))
    assert (out / "fields.csv").read_text() == "mine"
    (out / "fields.csv").unlink()
    run(experiment, out, **given(experiment))
    assert (out / ".backup.part").read_text() == "mine"


def test_a_model_that_cannot_be_had_leaves_the_folder_free(experiment: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^cyto33: no such model"):
        run(experiment, tmp_path / "out", model="cyto33")
    assert tree(tmp_path / "out", skip=()) == {}


def test_fields_that_left_the_plan_are_pointed_out(experiment: Path, tmp_path: Path) -> None:
    run(experiment, tmp_path / "out", **given(experiment))
    shutil.rmtree(experiment / "Drug" / "day2")
    report = run(experiment, tmp_path / "out", **given(experiment))
    assert (
        report.warnings[-1]
        == "files of 1 fields that are no longer in the plan are still there (e.g. Drug_day2_f1); they are in no table"
    )


def test_single_steps_overwrite_nothing(experiment: Path, tmp_path: Path) -> None:
    mask = experiment.parent / "masks" / "DMSO_day1_f1_mask.tif"
    path = trace(mask, tmp_path / "rois")
    with pytest.raises(OutputError) as refused:
        trace(mask, tmp_path / "rois")
    assert (
        str(refused.value)
        == f"{path}: is there already. It is not overwritten: move it elsewhere, or name another folder with --out."
    )


def test_the_segment_channel_may_be_measured_too(experiment: Path, tmp_path: Path) -> None:
    report = run(experiment, tmp_path / "out", **given(experiment), segment="EdU", measure="EdU")
    assert report.failures == ()
    assert len(list((tmp_path / "out" / "overlays" / "DMSO").iterdir())) == 2


def test_a_second_run_on_the_same_folder_is_refused(experiment: Path, tmp_path: Path) -> None:
    import socket

    out = tmp_path / "out"
    out.mkdir()
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom bridge.pipeline.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    with other.stdout:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputError) as refused:
            run(experiment, out, **given(experiment))
        assert str(refused.value) == (
            f"{out}: another run is writing to it (process {other.pid} on {socket.gethostname()}). Wait for it, or name another folder with --out."
        )
        other.kill()
        other.wait()
    # What a killed run leaves holds nobody, whatever its process number is now.
    (out / ".lock.json").write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
    assert run(experiment, out, **given(experiment)).exit_code == 0
    assert not list(out.glob(".lock*"))


def test_a_folder_of_another_version_is_refused(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment))
    content = json.loads((out / "run.json").read_text())
    del content["records"]  # as the version before wrote it
    (out / "run.json").write_text(json.dumps(content))
    with pytest.raises(OutputError) as refused:
        run(experiment, out, **given(experiment))
    assert str(refused.value) == (
        f"{out}: was made by another version of this program, whose numbers must not be mixed with those of this one. "
        "Give --update to make everything again, or name another folder with --out."
    )
    assert run(experiment, out, **given(experiment), update=True).exit_code == 0


def test_results_folder_that_cannot_be_written(experiment: Path, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    with pytest.raises(OutputError) as refused:
        run(experiment, taken, **given(experiment))
    assert str(refused.value) == f"{taken}: is a file (got a file, expected a folder). Name another folder with --out."
    with pytest.raises(OutputError) as refused:
        run(experiment, Path("/proc/results"), **given(experiment))
    assert str(refused.value) == (
        "/proc/results/.writable: cannot be written (No such file or directory). Make the folder writable or name another one with --out."
    )


def test_a_workbook_that_is_open_elsewhere(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment))
    book = out / "conditions" / "DMSO.xlsx"
    real = os.replace

    def replace(source: str, target: str) -> None:
        if str(target) == str(book):
            raise PermissionError(13, "Permission denied")  # what Windows answers while Excel has the file
        real(source, target)

    shutil.rmtree(experiment / "Drug" / "day2")
    monkeypatch.setattr("bridge.files.os.replace", replace)
    report = run(experiment, out, **given(experiment))
    assert [f.message for f in report.failures] == [
        f"{book}: cannot be replaced (Permission denied). Close the program that has it open, or make it writable, and give the same command again."
    ]
    monkeypatch.undo()
    assert run(experiment, out, **given(experiment)).exit_code == 0


def test_a_full_disk_stops_the_run_and_says_so(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def full(handle: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}").rpartition("/")[2].startswith(".DMSO_day2_f1_mask.tif"):
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr("bridge.files.os.fsync", full)
    with pytest.raises(MissingDependencyError) as refused:
        run(experiment, tmp_path / "out", **given(experiment))
    mask = tmp_path / "out" / "masks" / "DMSO" / "DMSO_day2_f1_mask.tif"
    assert str(refused.value) == (
        f"{mask}: the disk is full or over its quota (No space left on device). Make room and give the same command again; what is done is kept."
    )
    assert not mask.exists()
    monkeypatch.undo()
    assert run(experiment, tmp_path / "out", **given(experiment)).exit_code == 0


@pytest.mark.slow
def test_imagej_that_dies_costs_one_field(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = FijiEngine._ask

    def ask(self: FijiEngine, request: dict[str, object], blobs: object = None) -> object:
        if request.get("do") == "measure" and self.process_id and calls(request["title"], self):
            os.kill(self.process_id, signal.SIGKILL)
        return real(self, request, blobs)  # type: ignore[arg-type]

    seen: list[int] = []

    def calls(title: object, engine: FijiEngine) -> bool:
        seen.append(1)
        return len(seen) in (2, 3)  # the second field, both times

    monkeypatch.setattr(FijiEngine, "_ask", ask)
    report = run(experiment, tmp_path / "out", **given(experiment))
    assert report.done == 3
    (failure,) = report.failures
    assert (failure.field_id, failure.error) == ("DMSO_day2_f1", "ImageJError")
    assert "ImageJ died" in failure.message
    assert " twice. " in failure.message


# ---------------------------------------------------------------- both engines


def test_every_number_is_computed_twice(finished_with_masks: tuple[Path, Path]) -> None:
    _, out = finished_with_masks
    entry = json.loads((out / "run.json").read_text())
    n_cells = len(pd.read_csv(out / "cells.csv"))
    # Nine columns of each cell, and each pixel of four images of 160 x 160.
    assert entry["double_entry"] == {"numbers_compared": 9 * n_cells + 4 * 160 * 160, "fields_that_differ": 0}
    assert entry["imagej"]["imagej"] == "1.54p"
    assert entry["imagej"]["native"] == "the arithmetic of ImageJ 1.54p"


@pytest.mark.parametrize("engine", ["fiji", "native"])
def test_one_engine_alone_gives_the_same_files(
    finished_with_masks: tuple[Path, Path], tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, both = finished_with_masks
    if engine == "native":
        monkeypatch.setattr(FijiEngine, "_begin", lambda self: pytest.fail("Java was started"))
    report = run(images, tmp_path / "out", **given(images), engine=engine)
    assert report.exit_code == 0
    skip = ("run.json", "measure.json")
    assert tree(tmp_path / "out", skip) == tree(both, skip)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["double_entry"] is None


@pytest.mark.slow
def test_a_difference_fails_its_field(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = NativeEngine._measure

    def wrong(self: NativeEngine, task: Task) -> Measured:
        measured = real(self, task)
        if wrong_one:
            wrong_one.pop()
            measured.columns["Mean"][0] += 1
        return measured

    wrong_one = [1]
    monkeypatch.setattr(NativeEngine, "_measure", wrong)
    report = run(experiment, tmp_path / "out", **given(experiment))
    (failure,) = report.failures
    assert (failure.field_id, failure.step, failure.error) == ("DMSO_day1_f1", "measure", "ImageJError")
    assert failure.message.startswith("f1_EdU.tif: ImageJ and the native engine differ in 1 of ")
    assert "(00001, Mean: ImageJ " in failure.message
    assert report.done == 3
    assert not (tmp_path / "out" / "measurements" / "DMSO" / "DMSO_day1_f1_EdU_Results.csv").exists()
    # The same command again measures that field again.
    assert run(experiment, tmp_path / "out", **given(experiment)).exit_code == 0


def test_a_users_own_fiji_may_differ(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = NativeEngine._measure

    def other(self: NativeEngine, task: Task) -> Measured:
        measured = real(self, task)
        measured.columns["Mean"][0] += 1
        return measured

    monkeypatch.setattr(NativeEngine, "_measure", other)
    # As with --fiji PATH, which cannot be had here: the differences are listed, not an error.
    monkeypatch.setattr("bridge.pipeline.engines.DoubleEntry", lambda fiji, strict: DoubleEntry(fiji, strict=False))
    report = run(experiment, tmp_path / "out", **given(experiment))
    assert report.exit_code == 0
    flagged = [warning for warning in report.warnings if "differ" in warning]
    assert len(flagged) == 4
    assert flagged[0].startswith(
        "DMSO_day1_f1: EdU: this Fiji's ImageJ (1.54p) and the native engine (ImageJ 1.54p) differ (00001, Mean: ImageJ "
    )
    assert flagged[0].endswith("this Fiji's numbers are kept, the differences are in records/DMSO_day1_f1/measure.json")
    listed = json.loads((tmp_path / "out" / "records" / "DMSO_day1_f1" / "measure.json").read_text())
    assert len(listed["facts"]["differences"]["EdU"]) == 1
    assert json.loads((tmp_path / "out" / "run.json").read_text())["double_entry"]["fields_that_differ"] == 4


def test_the_paraboloid_needs_imagej_alone(experiment: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        run(experiment, tmp_path / "out", **given(experiment), sliding_paraboloid=True)
    assert str(refused.value) == (
        "run: sliding-paraboloid: the sliding paraboloid is computed by ImageJ only (got engine both, expected fiji); "
        "give --engine fiji with it. Correct the value."
    )
    assert run(experiment, tmp_path / "out", **given(experiment), sliding_paraboloid=True, engine="fiji").exit_code == 0


def test_the_first_use_of_the_kernels_is_announced(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    run(experiment, tmp_path / "a", **given(experiment), announce=said.append)
    assert said == []
    monkeypatch.setattr("bridge.pipeline.run.compiled", lambda: False)
    run(experiment, tmp_path / "b", **given(experiment), announce=said.append)
    assert said == ["The kernels that trace and measure are compiled for this processor, once; it takes half a minute."]


# ---------------------------------------------------------------- what the user is told


def test_warnings_about_the_numbers(experiment: Path, tmp_path: Path) -> None:
    path = experiment / "DMSO" / "day1" / "f1_EdU.tif"
    pixels = np.minimum(tifffile.imread(path), 1500)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "YX", "unit": "um"})
    report = run(experiment, tmp_path / "out", **given(experiment), rolling_ball=12)
    radius, saturated = report.warnings
    assert radius.startswith(
        "4 of 4 fields: the rolling ball (radius 12 px) is smaller than the largest cells (95th percentile of their extent: "
    )
    assert radius.endswith("ImageJ advises a radius at least as large")
    assert saturated.startswith("1 of 4 fields: EdU is saturated in the cells (")
    assert saturated.endswith("of their pixels at grey level 1500 in DMSO_day1_f1); their means are too low")
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


# ---------------------------------------------------------------- the steps alone


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


def test_errors_have_one_root() -> None:
    assert issubclass(InputError, BridgeError)
    assert bridge.BridgeError is BridgeError


# ---------------------------------------------------------------- what depends on what


@pytest.mark.slow
def test_a_field_that_moves_to_another_condition_takes_its_files_along(experiment: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "samples.csv"
    out = tmp_path / "out"
    rows = {f"{c}/{r}": c for c in ("DMSO", "Drug") for r in ("day1", "day2")}

    def write(conditions: dict[str, str]) -> None:
        sheet.write_text("folder,condition\n" + "".join(f"{folder},{name}\n" for folder, name in conditions.items()))

    write(rows)
    run(experiment, out, **given(experiment), samples=sheet)
    write(rows | {"DMSO/day2": "Drug"})
    with pytest.raises(
        OutputError,
        match=r"^DMSO_day2_f1: its segment step was made from something else .* Give --update to make it again\.$",
    ):
        run(experiment, out, **given(experiment), samples=sheet)
    assert run(experiment, out, **given(experiment), samples=sheet, update=True).exit_code == 0
    run(experiment, tmp_path / "fresh", **given(experiment), samples=sheet)
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.slow
def test_another_colour_channel_is_another_image(experiment: Path, tmp_path: Path) -> None:
    path = experiment / "DMSO" / "day1" / "f1_EdU.tif"
    rgb = np.zeros((160, 160, 3), np.uint8)
    rgb[..., 0], rgb[..., 1] = 30, np.arange(160)
    tifffile.imwrite(path, rgb, photometric="rgb")
    out = tmp_path / "out"
    run(experiment, out, **given(experiment), rgb_channel="red")
    assert run(experiment, out, **given(experiment), rgb_channel="green", update=True).exit_code == 0
    run(experiment, tmp_path / "fresh", **given(experiment), rgb_channel="green")
    assert tree(out) == tree(tmp_path / "fresh")


def test_a_channel_less_leaves_no_file_of_it(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment), save_subtracted=True)
    run(experiment, out, **given(experiment), measure="none", update=True)
    assert not list(out.glob("measurements/*/*"))
    run(experiment, tmp_path / "fresh", **given(experiment), measure="none")
    assert tree(out) == tree(tmp_path / "fresh")


def test_moved_images_are_the_same_images(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment))
    before = tree(out)
    shutil.move(experiment, tmp_path / "elsewhere")
    assert run(tmp_path / "elsewhere", out, masks=tmp_path / "masks", count="none").exit_code == 0
    assert tree(out) == before
