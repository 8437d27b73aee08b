"""Further channels that the network sees: from files of their own and from one file, in runs, verbs and trainings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from small import DEMO, make_experiment, tree

import bridge
from bridge.cli import main
from bridge.errors import InputError, MissingDependencyError, ModelError, SegmentationError, StaleError
from bridge.evaluation.pairs import find_pairs
from bridge.evaluation.sweep import sweep
from bridge.images.label_images import read_labels
from bridge.pipeline.preflight import make_plan
from bridge.segmentation.models import resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.settings import Settings

WITH = {
    **DEMO,
    "model": "cyto_0",
    "count": "none",
    "engine": "native",
    "segment_with": ["TO-PRO-3"],
    "pictures": "none",
}
FIELD = "DMSO_day1_f1"


@pytest.fixture(scope="module", autouse=True)
def network() -> None:
    """`demo` has never seen a second channel, and finds nothing with one."""
    try:
        resolve_model("cyto_0")
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_experiment(tmp_path_factory.mktemp("with") / "images")


@pytest.fixture(scope="module")
def in_one_file(images: Path) -> Path:
    """The same fields, all channels of one in one file."""
    folder = images.parent / "hyper"
    for path in images.rglob("*_phase.tif"):
        planes = [tifffile.imread(path.with_name(f"f1_{name}.tif")) for name in ("phase", "TO-PRO-3", "EdU")]
        target = folder / path.parent.relative_to(images) / "f1.tif"
        target.parent.mkdir(parents=True)
        pixels = np.stack(planes).astype(np.uint16)
        tifffile.imwrite(target, pixels, imagej=True, metadata={"axes": "CYX", "Labels": ["phase", "TO-PRO-3", "EdU"]})
    return folder


@pytest.fixture(scope="module")
def finished(images: Path) -> Path:
    bridge.run(images, images.parent / "out", **WITH)
    return images.parent / "out"


def seen(images: Path) -> np.ndarray:
    folder = images / "DMSO" / "day1"
    return np.stack([tifffile.imread(folder / f"f1_{name}.tif").astype(np.float32) for name in ("phase", "TO-PRO-3")])


def test_the_network_sees_both(images: Path, finished: Path) -> None:
    found = read_labels(finished / "masks" / "DMSO" / f"{FIELD}_mask.tif")
    segmenter = Segmenter("cyto_0", "cpu")
    np.testing.assert_array_equal(found, segmenter.segment(seen(images), 37.0).labels)
    assert not np.array_equal(found, segmenter.segment(seen(images)[0], 37.0).labels)
    table = pd.read_csv(finished / "fields.csv")
    assert table["segment_with_path_TO-PRO-3"][0] == "DMSO/day1/f1_TO-PRO-3.tif"


def test_from_one_file_it_is_the_same(images: Path, in_one_file: Path, finished: Path, tmp_path: Path) -> None:
    numbers = {"segment": "1", "segment_with": ["2"], "measure": ["3"]}
    bridge.run(in_one_file, tmp_path / "out", **{**WITH, **numbers})
    masks = {name: read_labels(finished / name) for name in tree(finished) if name.startswith("masks/")}
    assert len(masks) == 4
    for name, labels in masks.items():
        np.testing.assert_array_equal(read_labels(tmp_path / "out" / name), labels)
    mask = bridge.segment(in_one_file / "DMSO" / "day1" / "f1.tif", tmp_path / "one", channel="1", segment_with=["2"], model="cyto_0", diameter=37.0, device="cpu")  # fmt: skip
    np.testing.assert_array_equal(read_labels(mask), masks[f"masks/DMSO/{FIELD}_mask.tif"])


def test_another_second_channel_is_another_segmentation(images: Path, tmp_path: Path) -> None:
    own = tmp_path / "images"
    shutil.copytree(images, own)
    out = tmp_path / "out"
    bridge.run(own, out, **WITH)
    before = tree(out / "masks")
    nuclei = own / "DMSO" / "day1" / "f1_TO-PRO-3.tif"
    pixels = tifffile.imread(nuclei)
    tifffile.imwrite(nuclei, pixels[::-1], imagej=True, resolution=(2.0, 2.0), metadata={"axes": "YX", "unit": "um"})
    with pytest.raises(StaleError, match=r"its segment step was made from something else \(image_2 was "):
        bridge.run(own, out, **WITH)
    bridge.run(own, out, update=True, **WITH)
    after = tree(out / "masks")
    assert [name for name in before if before[name] != after[name]] == [f"DMSO/{FIELD}_mask.tif"]
    bridge.run(own, out, update=True, **{**WITH, "segment_with": []})
    assert "segment_with_path_TO-PRO-3" not in pd.read_csv(out / "fields.csv")
    assert all(tree(out / "masks")[name] != data for name, data in before.items())


def test_what_follows_from_a_run_knows_it(finished: Path, images: Path, tmp_path: Path) -> None:
    """Other thresholds, the bundle, and the truth that a person corrects."""
    archive = bridge.bundle(finished, tmp_path / "b.zip").path
    found = bridge.verify(archive, images=images)
    assert not found.differences
    shown = bridge.preview(images, tmp_path / "p.png", field=FIELD, **{k: v for k, v in WITH.items() if k != "diameter"}, diameters=["37"])  # fmt: skip
    assert shown is not None


def test_trained_and_tried_with_it(in_one_file: Path, images: Path, tmp_path: Path) -> None:
    learnt = tmp_path / "learnt"
    learnt.mkdir()
    for path in sorted(in_one_file.rglob("f1.tif")):
        name = "_".join(path.relative_to(in_one_file).parts[:2])
        shutil.copy(path, learnt / f"{name}.tif")
        shutil.copy(images.parent / "masks" / f"{name}_f1_mask.tif", learnt / f"{name}_mask.tif")
    trained = bridge.train(learnt, tmp_path / "m", base="cyto_0", segment="1", segment_with=["2"], epochs=1, learning_rate=1e-4, device="cpu", held_out=["DMSO_day1"])  # fmt: skip
    assert trained.model.is_file()
    swept = sweep(learnt, tmp_path / "s", model="cyto_0", device="cpu", channel="1", channel_with=["2"], held_out=["none"])  # fmt: skip
    alone = sweep(learnt, tmp_path / "t", model="cyto_0", device="cpu", channel="1", held_out=["none"])
    assert not swept.table.equals(alone.table)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"segment_with": ["DAPI"]}, "{images}: no channel DAPI (got EdU, phase, TO-PRO-3). Correct --segment-with."),
        ({"segment_with": ["TO-PRO-3"], "colour": "merged"}, "--colour merged: the network is shown further channels (got --segment-with TO-PRO-3, expected one of the two). Leave one out."),
        ({"segment_with": ["phase"]}, "--segment-with phase: the channel in which the cells are found (expected another one beside it). Leave it out."),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(images: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as refused:
        make_plan(images, Settings(**options))  # type: ignore[arg-type]
    assert str(refused.value) == said.format(images=images)


def test_a_field_without_it_is_named(images: Path, tmp_path: Path) -> None:
    own = tmp_path / "images"
    shutil.copytree(images, own)
    (own / "Drug" / "day2" / "f1_TO-PRO-3.tif").unlink()
    plan = make_plan(own, Settings(segment_with=("TO-PRO-3",), count="none"))
    assert plan.problems == (
        ("Drug_day2_f1", "Drug_day2_f1: no TO-PRO-3 image (expected one beside the others). Add it, take the field out, or leave TO-PRO-3 out of --segment-with."),
    )  # fmt: skip
    small = own / "Drug" / "day1" / "f1_TO-PRO-3.tif"
    tifffile.imwrite(small, tifffile.imread(small)[:80, :80], imagej=True)
    plan = make_plan(own, Settings(segment_with=("TO-PRO-3",), count="none"))
    assert "phase and TO-PRO-3 differ in size (got 160 x 160 and 80 x 80 px, expected the same)" in dict(plan.problems)["Drug_day1_f1"]  # fmt: skip


def test_one_channel_is_not_shown_twice(images: Path, in_one_file: Path, tmp_path: Path) -> None:
    """A file of one channel has no other one, whatever it is called."""
    single = images / "DMSO" / "day1" / "f1_phase.tif"
    with pytest.raises(InputError) as refused:
        bridge.segment(single, tmp_path, segment_with=["DAPI"], model="cyto_0", device="cpu")
    assert str(refused.value) == f"{single}: the network would see one channel twice (got DAPI beside the only one, expected another one). Correct --segment-with."  # fmt: skip
    several = in_one_file / "DMSO" / "day1" / "f1.tif"
    with pytest.raises(InputError, match=r"one channel twice \(got 2 beside 2, expected another one\)"):
        bridge.segment(several, tmp_path, channel="2", segment_with=["2"], model="cyto_0", device="cpu")


def test_too_many_are_refused_before_any_work(images: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        bridge.run(images, tmp_path / "out", **{**WITH, "segment_with": ["TO-PRO-3", "EdU"]})
    assert str(refused.value) == "--segment-with: more channels than cyto_0 looks at (got 3 in all, expected 2 at most). Name fewer."  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_people_are_told(finished: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = (finished / "methods.txt").read_text("utf-8")
    assert "Cells were segmented in phase (shown to the network together with TO-PRO-3) with Cellpose" in methods
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(images), "--segment-with", "TO-PRO-3", "--count", "none"])
    assert ended.value.code in (0, None)
    said = " ".join(capsys.readouterr().out.split())
    assert "cells in phase, which the network sees with TO-PRO-3; measured: EdU" in said


def test_the_pairs_of_a_run_are_shown_what_it_saw(finished: Path) -> None:
    with pytest.raises(InputError, match=r"the network is shown what it saw in this run \(got further channels 2, expected none\)"):  # fmt: skip
        find_pairs(finished, channel_with=["2"])


def test_too_many_and_colours(images: Path, tmp_path: Path) -> None:
    with pytest.raises(SegmentationError) as refused:
        Segmenter("demo", "cpu").segment(np.random.default_rng(0).random((3, 64, 64)), name="f1")
    assert str(refused.value) == "f1: more channels than demo looks at (got 3, expected 2 at most). Choose one channel, or name fewer with --segment-with."  # fmt: skip
    file = images / "DMSO" / "day1" / "f1_phase.tif"
    with pytest.raises(InputError) as odd:
        bridge.segment(file, tmp_path, segment_with=["2"], colour="merged", model="demo", device="cpu")
    assert str(odd.value) == f"{file}: the network is shown its colours and further channels (got --colour merged and --segment-with, expected one of them). Leave one out."  # fmt: skip
