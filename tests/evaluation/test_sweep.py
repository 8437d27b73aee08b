"""Settings tried on images with ground truth: thresholds, diameters, what each change brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from small import make_pairs

import bridge
from bridge.cli.main import main
from bridge.errors import OutputError
from bridge.evaluation.tables import DIAMETERS, SWEEP
from bridge.images.label_images import read_labels
from bridge.scores.score import score
from bridge.segmentation.segmenter import Segmenter
from bridge.tables import read_table


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("tuning") / "pairs", 3, seed=860)


def test_a_sweep_is_what_single_calls_say(pairs: Path, tmp_path: Path) -> None:
    found = bridge.sweep(pairs, tmp_path / "out", model="demo", diameter=37.0, held_out=["f2"], device="cpu")
    table = read_table(tmp_path / "out" / "sweep.csv", SWEEP)
    assert len(table) == 2 * 30
    assert table["set"].value_counts().to_dict() == {"choosing": 30, "held-out": 30}
    segmenter = Segmenter("demo", "cpu")
    true, image = read_labels(pairs / "f2_mask.tif"), tifffile.imread(pairs / "f2.tif")
    for flow, cellprob in ((0.0, -2.0), (0.4, 0.0), (1.0, 2.0)):
        alone = segmenter.segment(image, 37.0, flow, cellprob)
        own = table[
            (table["set"] == "held-out") & (table["flow_threshold"] == flow) & (table["cellprob_threshold"] == cellprob)
        ]
        assert own["ap_50"].item() == score(true, alone.labels).by_iou[0.5].average_precision
        assert own["n_predicted"].item() == alone.labels.max()
    choosing = table[table["set"] == "choosing"]
    best = choosing[
        (choosing["flow_threshold"] == found.flow_threshold)
        & (choosing["cellprob_threshold"] == found.cellprob_threshold)
    ]
    assert best["ap_50"].item() == choosing["ap_50"].max()
    assert (
        f"best on 2 images: --flow-threshold {found.flow_threshold:g} --cellprob-threshold {found.cellprob_threshold:g}"
        in found.said
    )
    assert "on 1 held-out images " in found.said
    with pytest.raises(OutputError, match=r"sweep\.csv: is there already"):
        bridge.sweep(pairs, tmp_path / "out", model="demo", device="cpu")


def test_a_sweep_without_held_out_images_says_what_it_is(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for k in range(2):
        (tmp_path / "images" / f"f{k}.tif").write_bytes((pairs / f"f{k}.tif").read_bytes())
        (tmp_path / "labels" / f"f{k}.tif").write_bytes((pairs / f"f{k}_mask.tif").read_bytes())
    words = [
        "evaluate",
        str(tmp_path / "labels"),
        str(tmp_path / "images"),
        "--sweep",
        "--model",
        "demo",
        "--diameter",
        "37",
        "--out",
        str(tmp_path / "out"),
    ]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "chosen and judged on the same images: optimistic (--held-out shows by how much)" in said


def test_what_a_model_was_not_trained_on_chooses_no_thresholds_either(pairs: Path, tmp_path: Path) -> None:
    how = {"base": "demo", "epochs": 1, "crops": 1, "crop": 96, "device": "cpu"}
    trained = bridge.train(pairs, tmp_path / "m", held_out=["f1"], **how)
    found = bridge.sweep(pairs, tmp_path / "out", model=str(trained.model), device="cpu")
    assert found.table.groupby("set")["n_images"].first().to_dict() == {"choosing": 2, "held-out": 1}
    assert "too good" not in found.said
    learnt = bridge.sweep(pairs, tmp_path / "learnt", model=str(trained.model), held_out=["f0"], device="cpu")
    assert learnt.said.endswith("; the model has learnt from 1 of these: optimistic")
    true = read_labels(pairs / "f1_mask.tif")
    assert found.table.loc[found.table["set"] == "held-out", "n_true"].unique().tolist() == [len(np.unique(true)) - 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sweep", "--rule", "neurips"], "--rule: without effect here (got it with --sweep). Leave it out."),
        (
            ["--diameters", "--diameter", "9"],
            "--diameter: without effect here (got it with --diameters). Leave it out.",
        ),
        (["--model", "demo"], "--model: without effect here (got it with label images). Leave it out."),
        (
            ["--sweep", "--diameter", "-5"],
            "sweep: diameter: the diameter must be positive (got -5.0). Correct the value.",
        ),
    ],
)
def test_an_option_without_effect_is_refused(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(pairs), str(pairs), "--out", str(tmp_path / "out"), *words])
    assert left.value.code == 2
    assert " ".join(capsys.readouterr().err.split()) == f"Error: {said}"


def test_three_ways_to_a_diameter(pairs: Path, tmp_path: Path) -> None:
    trained = bridge.train(pairs, tmp_path / "m", base="demo", epochs=1, crops=1, crop=96, size=True, device="cpu")
    table = bridge.compare_diameters(pairs, tmp_path / "out", model=str(trained.model), device="cpu")
    assert trained.split.held_out == ()
    assert table["way"].tolist() == ["none", "auto", "style", "true"] * 3
    assert np.allclose(
        table.loc[table["way"] == "true", "diameter_px"], table.loc[table["way"] == "true", "true_diameter_px"]
    )
    assert (table.loc[table["way"] == "none", "diameter_px"].nunique()) == 1
    assert len(read_table(tmp_path / "out" / "diameters.csv", DIAMETERS)) == 12
    without = bridge.compare_diameters(pairs, tmp_path / "demo", model="demo", device="cpu")
    assert without["way"].tolist() == ["none", "auto", "true"] * 3
