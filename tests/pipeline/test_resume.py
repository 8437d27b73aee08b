"""A run that is killed, repeated or changed: it resumes, redoes what depends, and overwrites nothing of others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from small import DEMO, given, tree

from bridge.errors import InputError, MissingDependencyError, OutputError
from bridge.images.label_images import read_labels, write_labels
from bridge.pipeline.roiset_verbs import trace
from bridge.pipeline.run import Report, run
from bridge.pipeline.verbs import summarize


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


def test_the_plan_and_the_failures_that_a_person_changed_are_not_overwritten(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(experiment, out, **given(experiment))
    for name in ("fields.csv", "failures.csv"):
        before = (out / name).read_bytes()
        (out / name).write_bytes(before + b"mine")
        with pytest.raises(OutputError, match=rf"{name}: was changed since it was written \(its SHA-256 differs\)"):
            run(experiment, out, **given(experiment))
        assert (out / name).read_bytes() == before + b"mine"
        (out / name).unlink()
        assert run(experiment, out, **given(experiment)).exit_code == 0
        assert (out / name).read_bytes() == before


@pytest.mark.slow
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
    named = ("run.json", "report.html")  # the page's title is the folder's name
    before = tree(out, named)
    shutil.move(experiment, tmp_path / "elsewhere")
    assert run(tmp_path / "elsewhere", out, **given(experiment)).exit_code == 0
    assert tree(out, named) == before
    assert "<title>elsewhere: " in (out / "report.html").read_text("utf-8")
