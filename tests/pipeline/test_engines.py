"""A run with both engines, with one, and with an ImageJ that fails."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from small import given, tree

from bridge.errors import InputError
from bridge.imagej.both import DoubleEntry
from bridge.imagej.engine import Measured, Task
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.native import NativeEngine
from bridge.pipeline.run import run


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
    # These say which engine measured; tables.json holds the hash of the workbook, whose sheet of settings says so.
    skip = ("run.json", "measure.json", "methods.txt", "report.html", "all_conditions.xlsx", "tables.json")
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
