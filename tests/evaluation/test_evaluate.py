"""`evaluate`: which file is compared with which, what is read, and what the tables say."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

import bridge
from bridge.cli.main import main
from bridge.errors import InputError, LabelError, MissingDependencyError, OutputError
from bridge.evaluation.tables import EVALUATED_IMAGES, EVALUATED_SETS, MATCHES
from bridge.images.label_images import write_labels
from bridge.images.objects import read_objects
from bridge.tables import read_table


def cells(n: int, shift: int = 0) -> np.ndarray:
    labels = np.zeros((40, 60), np.uint16)
    for k in range(n):
        labels[4 + shift : 12 + shift, 2 + 10 * k : 9 + 10 * k] = k + 1
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    truth, good, bad = (tmp_path / name for name in ("truth", "good", "bad"))
    for k in range(3):
        write_labels(truth / f"f{k}_mask.tif", cells(5))
        write_labels(good / "DMSO" / f"f{k}_cp_masks.tif", cells(5, shift=k))
        write_labels(bad / f"f{k}.tif", np.where(cells(5) > 0, 1, 0).astype(np.uint16))
    return truth, good, bad


def test_predictions_side_by_side(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    truth, good, bad = folders
    found = bridge.evaluate(truth, [good, bad], tmp_path / "out")
    assert found.failures == ()
    images = read_table(tmp_path / "out" / "images.csv", EVALUATED_IMAGES)
    # The worst first: shifted by 0, 1, 2 of 8 rows, an IoU of 1, 7/9, 6/10.
    assert images["image"].tolist()[:3] in (["f0", "f1", "f2"], ["f2", "f1", "f0"])
    own = images[images["prediction"] == "good"].set_index("image")
    assert own.loc[["f0", "f1", "f2"], "mean_iou"].tolist() == [1.0, 7 / 9, 0.6]
    assert own.loc[["f0", "f1", "f2"], "ap_75"].tolist() == [1.0, 1.0, 0.0]
    assert own.loc["f2", "ap_60"] == 1.0
    sets = read_table(tmp_path / "out" / "sets.csv", EVALUATED_SETS).set_index("prediction")
    assert sets.loc["good", ["n_images", "n_true", "count_error", "merged"]].tolist() == [3, 15, 0, 0]
    assert sets.loc["good", "ap_75_pooled"] == 10 / 20
    assert sets.loc["good", "ap_75_mean"] == 2 / 3
    assert sets.loc["good", ["ap_75_lowest", "ap_75_highest"]].tolist() == [0, 1]
    # All cells as one: perfect pixels, nothing found.
    assert sets.loc["bad", ["pixel_dice_mean", "f1_pooled", "merged"]].tolist() == [1, 0, 3]
    matches = read_table(tmp_path / "out" / "matches.csv", MATCHES)
    mine = matches[(matches["prediction"] == "good") & (matches["image"] == "f1")]
    assert mine["true_label"].tolist() == mine["predicted_label"].tolist() == [1, 2, 3, 4, 5]
    assert len(matches[(matches["prediction"] == "bad") & (matches["image"] == "f1")]) == 6
    with Image.open(tmp_path / "out" / "average_precision.png") as picture:
        assert picture.size[0] > 1000
    with pytest.raises(OutputError, match=r"images\.csv: is there already\. It is not overwritten"):
        bridge.evaluate(truth, [good], tmp_path / "out")


def test_a_list_of_names_and_the_command(
    folders: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, good, _ = folders
    (tmp_path / "test.txt").write_text("# held out\nf2_mask.tif\nf0\n")
    with pytest.raises(SystemExit, match="0"):
        main(["evaluate", str(truth), str(good), "--out", str(tmp_path / "out"), "--only", str(tmp_path / "test.txt"), "--rule", "neurips"])  # fmt: skip
    assert "good" in capsys.readouterr().out
    images = pd.read_csv(tmp_path / "out" / "images.csv")
    assert sorted(images["image"]) == ["f0", "f2"]
    (tmp_path / "test.txt").write_text("f9\n")
    with pytest.raises(InputError) as refused:
        bridge.evaluate(truth, [good], tmp_path / "new", only=tmp_path / "test.txt")
    assert str(refused.value) == (
        f"{tmp_path / 'test.txt'}: no ground truth of this name (got f9, expected one of f0, f1, f2). Correct the list."
    )


def test_one_missing_prediction_stops_nothing(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    truth, good, _ = folders
    (good / "DMSO" / "f1_cp_masks.tif").unlink()
    write_labels(good / "DMSO" / "f2_cp_masks.tif", cells(3)[:30])
    found = bridge.evaluate(truth, [good], tmp_path / "out")
    assert dict(found.failures) == {
        "f1": f"{good}: no prediction for f1 (expected f1_mask.tif). Add it, or leave f1 out with --only.",
        "f2": f"{good / 'DMSO' / 'f2_cp_masks.tif'}: not the size of its ground truth (got 30 x 60, expected 40 x 60 px). Compare images of one field.",
    }
    assert len(found.images) == 1


def test_truth_in_colours_and_in_one_file_per_object(tmp_path: Path) -> None:
    labels = cells(4)
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)[labels]
    Image.fromarray(colours).save(tmp_path / "f0.png")
    objects = tmp_path / "dsb" / "f0" / "masks"
    objects.mkdir(parents=True)
    for k in range(1, 5):
        Image.fromarray(((labels == k) * 255).astype(np.uint8)).save(objects / f"{k}.png")
    for truth in (tmp_path / "f0.png", objects):
        found = read_objects(truth)
        assert np.array_equal(found > 0, labels > 0)
        assert len({(int(a), int(b)) for a, b in zip(found.ravel(), labels.ravel(), strict=True)}) == 5
    write_labels(tmp_path / "predicted" / "f0_mask.tif", labels)
    assert bridge.evaluate(tmp_path / "dsb", [tmp_path / "predicted"], tmp_path / "out").images["ap_95"].tolist() == [1]
    Image.fromarray(np.full((40, 60), 255, np.uint8)).save(objects / "9.png")
    with pytest.raises(LabelError, match=r"9\.png: lies over another object"):
        read_objects(objects)


def test_bad_input_is_named(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    truth, good, _ = folders
    gone, empty = tmp_path / "gone", tmp_path / "empty"
    empty.mkdir()
    other = tmp_path / "other"
    write_labels(other / "x_mask.tif", cells(1))
    for predicted, expected in (
        (gone, f"{gone}: no such file or folder (expected label images). Check the path."),
        (empty, f"{empty}: no label images in it (expected .tif, .png or _seg.npy). Check the path."),
        (
            other,
            f"{other}: no image has the name of a ground truth (got x, expected one of f0, f1, f2). Name them alike.",
        ),
    ):
        with pytest.raises(InputError) as refused:
            bridge.evaluate(truth, [predicted], tmp_path / "out")
        assert str(refused.value) == expected
    with pytest.raises(InputError) as refused:
        bridge.evaluate(truth, [good, good], tmp_path / "out")
    assert str(refused.value) == f"{good}: the same prediction twice (expected each once). Leave one out."
    Image.fromarray(cells(1)).save(other / "x_mask.png")
    single = [other / "x_mask.tif", other / "x_mask.png"]
    found = bridge.evaluate(other / "x_mask.tif", single, tmp_path / "single")
    assert found.sets["prediction"].tolist() == ["x_mask.tif", "x_mask.png"]
    assert not (tmp_path / "out").exists()


def test_partners_of_exactly_one_half_are_told_once(tmp_path: Path) -> None:
    true, halves = np.zeros((9, 9), np.uint16), np.zeros((9, 9), np.uint16)
    true[2, 2:6] = 1
    halves[2, 2:4], halves[2, 4:6] = 1, 2
    for name, labels in (("a", true), ("b", halves)):
        write_labels(tmp_path / name / "f_mask.tif", labels)
    for truth, predicted in (("a", "b"), ("b", "a")):
        found = bridge.evaluate(tmp_path / truth, [tmp_path / predicted], tmp_path / f"out_{truth}")
        assert found.images["tp"].tolist() == [1]
        assert (found.matches["iou"] > 0).sum() == 1
        assert len(found.matches) == 2


def test_names_are_found_whatever_program_wrote_them(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    truth = tmp_path / "pairs"
    for name, composed in (("Z\u00e4hlung", "NFD"), ("img.001", "NFC")):
        write_labels(truth / f"{unicodedata.normalize(composed, name)}_mask.tif", cells(5))
        tifffile.imwrite(truth / f"{unicodedata.normalize(composed, name)}.tif", np.zeros((40, 60), np.uint8))
        for run in ("r1", "r2"):
            write_labels(tmp_path / run / "masks" / f"{name}_mask.tif", cells(4))
    listed = tmp_path / "names.txt"
    listed.write_text("\ufeffimg.001\r\nZ\u00e4hlung\n", "utf-8")
    predictions = [tmp_path / run / "masks" for run in ("r1", "r2")]
    found = bridge.evaluate(truth, predictions, tmp_path / "out", only=listed)
    assert (found.failures, found.sets["prediction"].tolist()) == ((), ["r1/masks", "r2/masks"])
    assert found.sets["n_images"].tolist() == [2, 2]
    for content, said in (
        ("Z\u00e4hlung".encode("latin-1"), "not a text file in UTF-8 (got the byte 0xe4). Save it as UTF-8."),
        (b"\n# none\n", "no names in it (expected the name of an image in each line). Fill it, or leave out --only."),
    ):
        listed.write_bytes(content)
        with pytest.raises(InputError) as refused:
            bridge.evaluate(truth, predictions, tmp_path / "new", only=listed)
        assert str(refused.value) == f"{listed}: {said}"


def test_colour_pictures_that_are_no_truth(tmp_path: Path) -> None:
    labels = cells(5)
    path = tmp_path / "f0.png"
    deep = np.zeros((*labels.shape, 3), np.uint16)
    deep[..., 0] = labels  # below what eight bits could hold
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    assert np.array_equal(read_objects(tmp_path / "deep.tif"), labels)
    palette = Image.fromarray(labels.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, *(level for k in range(1, 256) for level in (k, 255 - k, 7))])
    palette.save(path)
    assert len({(int(a), int(b)) for a, b in zip(read_objects(path).ravel(), labels.ravel(), strict=True)}) == 6
    white = np.array([[255, 255, 255], *[[40 * k, 9, 9] for k in range(1, 6)]], np.uint8)[labels]
    repeated = np.array([[0, 0, 0], *[[200, 9, 9]] * 5], np.uint8)[labels]
    for picture, said in (
        (white, "a colour image without black (expected black where no object is). Save it as a label image: 0 for the background, one id for each object."),
        (repeated, "1 colours in 5 separate places (expected a colour of its own for each object). Save it as a label image: one id for each object."),
    ):  # fmt: skip
        Image.fromarray(picture).save(path)
        with pytest.raises(LabelError) as refused:
            read_objects(path)
        assert str(refused.value) == f"{path}: {said}"


def test_the_rule_is_in_the_tables(tmp_path: Path) -> None:
    true = cells(5)
    true[0:3, 0:3] = 6  # at the border
    write_labels(tmp_path / "t" / "f_mask.tif", true)
    write_labels(tmp_path / "p" / "f_mask.tif", cells(5))
    for rule, missed in (("all", 1), ("neurips", 0)):
        found = bridge.evaluate(tmp_path / "t", [tmp_path / "p"], tmp_path / rule, rule=rule)
        for table in (found.images, found.sets):
            assert table["rule"].tolist() == [rule]
            assert table["n_true"].tolist() == [6]
        assert found.images["fn"].tolist() == [missed]
        assert found.sets[["ap_65_mean", "ap_65_lowest", "precision_mean", "count_error_mean"]].iloc[0].tolist() == [5 / 6, 5 / 6, 1, -1]  # fmt: skip
    with pytest.raises(InputError) as refused:
        bridge.evaluate(tmp_path / "t", [tmp_path / "p"], tmp_path / "new", boundary=float("nan"))
    assert str(refused.value) == (
        "--boundary: not a distance (got nan, expected a number of px, 0 or more). Correct it."
    )


def test_a_full_disk_leaves_nothing_in_the_way(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, good, _ = folders

    def full(*_: object) -> None:
        raise MissingDependencyError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("bridge.evaluation.evaluate.precision_figure", full)
        with pytest.raises(MissingDependencyError):
            bridge.evaluate(truth, [good], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert len(bridge.evaluate(truth, [good], tmp_path / "out").files) == 4
