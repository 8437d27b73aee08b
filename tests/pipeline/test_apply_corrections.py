"""Corrected cells in tables and figures, and out of them again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import given, make_experiment, tree

import bridge
from bridge.cli.main import main
from bridge.errors import InputError
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import label_ids
from bridge.pipeline import apply_corrections
from bridge.rois.roiset import encode_roiset, read_roiset, verify_roiset

FIELD = "DMSO_day1_f1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    images = make_experiment(folder / "images")
    assert bridge.run(images, folder / "results", **given(images), engine="native").exit_code == 0
    return folder


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "results", tmp_path / "results")
    return tmp_path / "results"


def redrawn(results: Path, field: str = FIELD) -> np.ndarray:
    """Delete the first cell of a field and shave the second, as a person would; return its label image."""
    (path,) = bridge.correct(results, [field])
    labels = read_labels(results / "masks" / field.split("_")[0] / f"{field}_mask.tif")
    first, second = label_ids(labels)[:2]
    edited = np.where(labels == first, 0, labels).astype(labels.dtype)
    rows = np.nonzero(edited == second)[0]
    edited[rows.min()][edited[rows.min()] == second] = 0
    path.write_bytes(encode_roiset(edited))
    return edited


def test_tables_follow_and_come_back(finished: Path, results: Path, tmp_path: Path) -> None:
    before = tree(results)
    times = {path: path.stat().st_mtime_ns for path in results.glob("m*/*/*")}
    edited = redrawn(results)
    done = bridge.apply(results)
    assert (done.fields, done.report.exit_code) == ((FIELD,), 0)
    labels = read_labels(results / "masks" / "DMSO" / f"{FIELD}_mask.tif")
    np.testing.assert_array_equal(labels, edited)
    verify_roiset(read_roiset(results / "rois" / "DMSO" / f"{FIELD}_RoiSet.zip", labels.shape), labels)

    # As a run on label images that were like this from the beginning.
    masks = tmp_path / "masks"
    shutil.copytree(finished / "masks", masks)
    write_labels(masks / f"{FIELD}_mask.tif", edited, None)
    settings = {**given(finished / "images"), "masks": masks}
    bridge.run(finished / "images", tmp_path / "fresh", **settings, engine="native")
    cells, fresh = (pd.read_csv(folder / "cells.csv") for folder in (results, tmp_path / "fresh"))
    pd.testing.assert_frame_equal(cells.drop(columns="corrected"), fresh.drop(columns="corrected"))
    second = label_ids(read_labels(finished / "masks" / f"{FIELD}_mask.tif"))[1]
    assert cells.loc[cells["corrected"], ["field_id", "label"]].values.tolist() == [[FIELD, second]]
    assert not fresh["corrected"].any()
    for name in (
        "shares.csv",
        "counts.csv",
        "replicates.csv",
        "figures/EdU_positive.png",
        f"overlays/DMSO/{FIELD}_EdU.png",
    ):
        assert (results / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes(), name
    content = json.loads((results / "run.json").read_text("utf-8"))
    assert content["corrected_by_hand"] == {FIELD: {"changed": 1, "gone": 1}}

    # The other fields were not touched.
    others = {path: time for path, time in times.items() if FIELD not in path.name}
    assert others
    assert others == {path: path.stat().st_mtime_ns for path in others}
    # A run goes on from there, and changes nothing.
    now = tree(results)
    bridge.run(finished / "images", results, **given(finished / "images"), engine="native")
    assert tree(results) == now
    # Applied again: nothing to do.
    assert bridge.apply(results).fields == ()
    assert tree(results) == now

    # Back to the byte; what was drawn stays.
    assert bridge.undo(results, [FIELD]).fields == (FIELD,)
    after = tree(results)
    assert {name: after[name] for name in before} == before
    left = {name for name in after.keys() - before.keys() if not name.startswith(f"records/{FIELD}/correct.json")}
    assert left == {f"corrections/{FIELD}{end}" for end in (".tif", "_RoiSet.zip", "_mask.tif")} | {"corrections.csv"}
    assert bridge.apply(results).fields == (FIELD,)
    assert {name: content for name, content in tree(results).items() if name != "run.json"} == now


def test_a_correction_that_is_put_back_is_taken_back(finished: Path, results: Path) -> None:
    before = tree(results)
    original = (results / "rois" / "DMSO" / f"{FIELD}_RoiSet.zip").read_bytes()
    redrawn(results)
    bridge.apply(results)
    (results / "corrections" / f"{FIELD}_RoiSet.zip").write_bytes(original)
    assert bridge.apply(results).fields == (FIELD,)
    after = tree(results)
    assert {name: after[name] for name in before} == before


KILLED = """
import os, sys
from pathlib import Path
import bridge
from bridge.pipeline import apply_corrections, records

def dying(work, dies):
    def wrapped(*given, **more):
        value = work(*given, **more)
        if dies(*given):
            os._exit(9)
        return value
    return wrapped

verb, results, point = sys.argv[1:]
if point == "copied":
    records.write_bytes = dying(records.write_bytes, lambda path, _: path.name.endswith("_mask.tif"))
elif point == "noted":
    records.Records._write = dying(records.Records._write, lambda self, field, step, record: step == "segment")
elif point == "applied":
    apply_corrections.run_again = lambda *_: os._exit(9)
else:
    records.Records.begin = dying(records.Records.begin, lambda self, field, step, *_: step == point)
getattr(bridge, verb)(results)
"""


@pytest.mark.slow
@pytest.mark.parametrize("point", ["applied", "copied", "noted", "corrected", "rois", "measure", "tables"])
def test_a_kill_anywhere_is_made_good(finished: Path, results: Path, tmp_path: Path, point: str) -> None:
    """Stopped at each point of applying and of undoing: the run's own command ends it."""
    shutil.copytree(results, tmp_path / "whole")
    redrawn(tmp_path / "whole")
    bridge.apply(tmp_path / "whole")
    redrawn(results)
    bridge.collect(results)
    before = tree(results)
    for verb, wanted in (("apply", tree(tmp_path / "whole")), ("undo", before)):
        ended = subprocess.run([sys.executable, "-c", KILLED, verb, str(results), point], check=False)
        assert ended.returncode == (0 if verb == "undo" and point == "corrected" else 9)
        assert bridge.run(finished / "images", results, **given(finished / "images"), engine="native").exit_code == 0
        after = tree(results)
        assert {name: after.get(name) for name in wanted} == wanted


def test_what_cannot_be_done(finished: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as refused:
        bridge.undo(results)
    assert str(refused.value) == f"{results}: no correction was applied. There is nothing to undo."
    redrawn(results)
    with pytest.raises(SystemExit) as ended:
        main(["correct", str(results), "--apply"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"1 field corrected: 1 edited, 1 deleted. See {results / 'corrections.csv'}. 1 field measured again; tables and figures are in {results}"
    )
    with pytest.raises(InputError) as refused:
        bridge.undo(results, ["Drug_day1_f1"])
    assert str(refused.value) == (
        f"{results}: Drug_day1_f1 has no applied correction (expected one of {FIELD}). Look at the column corrected in cells.csv."
    )
    with pytest.raises(SystemExit) as ended:
        main(["correct", str(results), "--undo"])
    assert ended.value.code == 0
    assert f"1 correction taken back ({FIELD}). 1 field measured again" in capsys.readouterr().out
    redrawn(results)
    hidden = finished / "elsewhere"
    (finished / "images").rename(hidden)
    try:
        with pytest.raises(InputError) as refused:
            apply_corrections.apply(results)
    finally:
        hidden.rename(finished / "images")
    assert str(refused.value) == (
        f"{finished / 'images'}: the images of this run are not there any more. Bring them back, or give their new place once: "
        f"cellpose-fiji run IMAGES --out {results} (with the settings of the run)."
    )
