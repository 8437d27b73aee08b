"""Fine-tuning: what is learnt, what is held out, what happens when it is stopped, and what is refused."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from small import make_experiment, make_pairs, tree, zipped

import bridge
from bridge.errors import InputError, LabelError, MissingDependencyError, ModelError, OutputError, SegmentationError
from bridge.evaluation.split import split
from bridge.images.label_images import read_labels, write_labels
from bridge.pipeline.progress import Progress
from bridge.rois.roiset import encode_roiset
from bridge.segmentation.models import DEMO, resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.synthetic import synthetic_field
from bridge.training.recipe import recipe_of
from bridge.training_settings import TrainSettings

QUICK = {"base": "demo", "epochs": 3, "crops": 2, "crop": 96, "batch_size": 2, "check_every": 1, "device": "cpu"}
SHORT = "the learning rate rises over 10 epochs: in 1 it came to 0 only"
GENTLE = {**QUICK, "learning_rate": 0.001}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("pairs") / "corrected", 3)


# ---------------------------------------------------------------- what is learnt


def test_from_nothing_to_a_model_that_finds_cells(tmp_path: Path) -> None:
    folder = make_pairs(tmp_path / "pairs", 10, size_px=224, n_cells=14, seed=900)
    said: list[str] = []
    trained = bridge.train(
        folder, tmp_path / "models", base="none", features=8, epochs=100, crops=8, crop=128, check_every=50,
        held_out=["f8", "f9"], device="cpu", say=said.append,
    )  # fmt: skip
    held_out = trained.sets.set_index("set").loc["held-out"]
    assert held_out["ap_50_tuned"] > 0.55, trained.sets.T
    assert (trained.split.held_out, len(trained.split.validation)) == (("f8", "f9"), 2)
    assert (
        trained.advice
        == f"AP {held_out['ap_50_tuned']:.3f} at IoU 0.5 on 2 held-out images; there is no base model to compare with."
    )
    assert any(re.match(r"epoch 50 of 100, loss \d\.\d+, accuracy \d\.\d+, .* left$", line) for line in said), said
    estimate = next(k for k, line in enumerate(said) if re.match(r"about \d+ (s|min): 100 epochs of [\d.]+ s, and 14 images segmented, [\d.]+ s each$", line))  # fmt: skip
    assert not any("epoch 50" in line for line in said[:estimate])
    cycle = tmp_path / "models" / "cycle_1"
    assert {p.name for p in cycle.iterdir()} == {
        "models_1", "model_card.md", "training.json", "before_after.csv", "before_after_sets.csv", "curve.csv", "curve.png", "pictures", "tuned",
    }  # fmt: skip
    # The model that was judged is the model that is used: with its own diameter, no option.
    image = tifffile.imread(folder / "f9.tif")
    found = Segmenter(str(trained.model), "cpu").segment(image).labels
    assert np.array_equal(found, read_labels(cycle / "tuned" / "f9_mask.tif"))
    curve = pd.read_csv(cycle / "curve.csv")
    assert curve["loss"].iloc[-5:].mean() < 0.6 * curve["loss"].iloc[:5].mean()
    assert json.loads((cycle / "training.json").read_text())["epoch_kept"] in (50, 100)


def test_before_and_after_are_told_apart(pairs: Path, tmp_path: Path) -> None:
    trained = bridge.train(pairs, tmp_path / "m", held_out=["f2"], **GENTLE)
    rows = trained.images.set_index("image")
    assert rows["set"].to_dict() == {"f2": "held-out", "f0": "training", "f1": "training"}
    for name, row in rows.iterrows():
        true = read_labels(pairs / f"{name}_mask.tif")
        assert row["n_true"] == len(np.unique(true)) - 1
        for which in ("base", "tuned"):
            found = read_labels(tmp_path / "m" / "cycle_1" / which / f"{name}_mask.tif")
            assert row[f"n_{which}"] == len(np.unique(found)) - 1
        assert row["ap_50_difference"] == row["ap_50_tuned"] - row["ap_50_base"]
    # Two images, one, are no interval.
    assert trained.sets[[c for c in trained.sets if c.endswith(("low", "high"))]].isna().all(axis=None)
    better = trained.sets.set_index("set").loc["held-out", "ap_50_difference"] > 0
    assert trained.advice.startswith("Use the trained model" if better else "Use the base model")
    card = (tmp_path / "m" / "cycle_1" / "model_card.md").read_text()
    assert resolve_model(DEMO).sha256 in card
    assert trained.advice in card
    cycles = pd.read_csv(tmp_path / "m" / "cycles.csv")
    assert cycles[["cycle", "n_images", "n_held_out"]].to_numpy().tolist() == [[1, 2, 1]]


def test_the_picture_shows_what_became_of_each_cell(tmp_path: Path) -> None:
    from PIL import Image

    from bridge.report.fates import FATES, Panel, fates_picture

    true = np.zeros((60, 60), np.uint16)
    true[5:15, 5:15], true[30:50, 30:50] = 1, 2
    found = np.zeros_like(true)
    found[30:50, 30:50], found[5:15, 40:50] = 1, 2
    panel = Panel("", ((true, {"missed": [1]}), (found, {"found": [1], "false": [2]})))
    fates_picture(tmp_path / "p.png", np.arange(3600).reshape(60, 60), [panel], "")
    picture = np.asarray(Image.open(tmp_path / "p.png"))[22:742:12, 8:728:12]  # drawn twelve times as large
    for (y, x), fate in {(5, 10): "missed", (30, 40): "found", (5, 45): "false"}.items():
        assert tuple(picture[y, x]) == FATES[fate]
    assert picture[10, 10].tolist() == [picture[10, 10, 0]] * 3


# ---------------------------------------------------------------- stopped, repeated, continued


def test_stopped_and_taken_up_again_is_the_same_model(pairs: Path, tmp_path: Path) -> None:
    whole = bridge.train(pairs, tmp_path / "a" / "m", held_out=["f2"], **GENTLE)

    def stop(p: Progress) -> None:
        if p.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bridge.train(pairs, tmp_path / "b" / "m", held_out=["f2"], progress=stop, **GENTLE)
    assert not (tmp_path / "b" / "m" / "cycle_1" / "m_1").exists()
    with pytest.raises(OutputError) as other:
        bridge.train(pairs, tmp_path / "b" / "m", held_out=["f2"], **{**GENTLE, "epochs": 4})
    assert str(other.value) == (
        f"{tmp_path / 'b' / 'm' / 'cycle_1'}: a training was begun here with other images or settings (epochs was 3 and is 4). "
        "Finish it with those, or delete this folder."
    )
    said: list[str] = []
    again = bridge.train(pairs, tmp_path / "b" / "m", held_out=["f2"], say=said.append, **GENTLE)
    assert "resumes after epoch 1 of 3" in said
    assert again.model.read_bytes() == whole.model.read_bytes()
    skip = ("training.json", "model_card.md")
    assert tree(tmp_path / "a" / "m", skip) == tree(tmp_path / "b" / "m", skip)


def test_the_same_again_changes_nothing_and_more_images_are_a_new_cycle(pairs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corrected"
    shutil.copytree(pairs, folder)
    first = bridge.train(folder, tmp_path / "m", held_out=["f2"], **GENTLE)
    before = tree(tmp_path / "m", ())
    same = bridge.train(folder, tmp_path / "m", held_out=["f2"], **GENTLE)
    assert (same.model, same.advice) == (first.model, first.advice)
    assert tree(tmp_path / "m", ()) == before
    field = synthetic_field(seed=950, size_px=160, n_cells=7)
    tifffile.imwrite(folder / "f3.tif", field.phase)
    write_labels(folder / "f3_mask.tif", field.cells)
    # Nobody says again that f2 is held out: it stays so, and the base is the same.
    second = bridge.train(folder, tmp_path / "m", **GENTLE)
    assert second.split.held_out == ("f2",)
    assert second.split.train == ("f0", "f1", "f3")
    cycles = pd.read_csv(tmp_path / "m" / "cycles.csv")
    assert cycles["model"].tolist() == ["cycle_1/m_1", "cycle_2/m_2"]
    assert cycles["n_images"].tolist() == [2, 3]
    assert cycles["base"].tolist() == ["demo", "demo"]
    with pytest.raises(InputError) as refused:
        bridge.train(folder, tmp_path / "m", **{**GENTLE, "base": str(first.model)})
    assert str(refused.value) == (
        f"{first.model}: the model of cycle 1 (expected the model it began from, demo). "
        "Train from that with all images corrected so far: a model trained twice leans to its first images."
    )


def test_each_image_left_out_once(pairs: Path, tmp_path: Path) -> None:
    trained = bridge.train(pairs, tmp_path / "m", leave_one_out=True, held_out="none", **{**GENTLE, "epochs": 1})
    left_out = trained.images[trained.images["set"] == "leave-one-out"]
    assert left_out["image"].tolist() == ["f0", "f1", "f2"]
    assert "on 3 images, each left out once" in trained.advice


def test_nothing_held_out_is_said(pairs: Path, tmp_path: Path) -> None:
    trained = bridge.train(pairs, tmp_path / "m", **{**GENTLE, "epochs": 1})
    assert trained.split.held_out == ()
    assert trained.advice == "Whether the trained model is better on other images is not known: none was held out."
    assert trained.warnings == (
        "no image was held out: these scores say nothing about other images (--held-out, or --leave-one-out)",
        SHORT,
    )


def test_corrections_of_a_run_are_pairs_and_favour_their_model(tmp_path: Path) -> None:
    images = make_experiment(tmp_path / "images")
    results = tmp_path / "results"
    assert bridge.run(images, results, model="demo", diameter=37, count="none", engine="native").exit_code == 0
    from bridge.pipeline.corrections import collect, correct

    for name in ("DMSO_day1_f1", "Drug_day1_f1"):
        correct(results, [name])
        labels = read_labels(next((results / "masks").rglob(f"{name}_mask.tif")))
        for k in range(6):
            labels[4:14, 4 + 20 * k : 14 + 20 * k] = 50 + k
        (results / "corrections" / f"{name}_RoiSet.zip").write_bytes(encode_roiset(labels))
    collect(results)
    trained = bridge.train(results, tmp_path / "m", held_out=["Drug_day1_f1"], **{**GENTLE, "epochs": 1})
    assert trained.split.train == ("DMSO_day1_f1",)
    assert trained.warnings == (
        "the ground truth was made by correcting the base model's own cells: this favours the base model",
        SHORT,
    )


def test_roi_sets_and_seg_files_are_ground_truth_too(pairs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for k in range(3):
        shutil.copy(pairs / f"f{k}.tif", folder)
    labels = [read_labels(pairs / f"f{k}_mask.tif") for k in range(3)]
    (folder / "f0_RoiSet.zip").write_bytes(encode_roiset(labels[0]))
    np.save(folder / "f1_seg.npy", {"masks": labels[1], "chan_choose": [0, 0], "filename": "f1.tif"})  # type: ignore[arg-type]
    tifffile.imwrite(folder / "f2_cp_masks.tif", labels[2])
    from bridge.evaluation.pairs import find_pairs, read_pair

    found = find_pairs(folder)
    for pair, true in zip(found.pairs, labels, strict=True):
        assert np.array_equal(read_pair(pair)[1], true)


# ---------------------------------------------------------------- what is decided before


def test_recipes() -> None:
    fine = recipe_of(TrainSettings(), 5, 3)
    assert (fine.optimizer, fine.weight_decay, fine.epochs, max(fine.learning_rates)) == ("sgd", 1e-4, 100, 0.1)
    challenge = recipe_of(TrainSettings(preset="challenge"), 50, 3)
    assert (challenge.optimizer, challenge.weight_decay, challenge.epochs) == ("nesterov", 1e-5, 300)
    assert (challenge.batch_size, challenge.crop_px, challenge.crops) == (8, 224, 50)
    rates = challenge.learning_rates
    assert rates[9] == rates[209] == 0.001
    assert [rates[k] for k in (210, 219, 220, 299)] == [0.0005, 0.0005, 0.00025, 0.001 / 2**9]
    assert recipe_of(TrainSettings(epochs=2, learning_rate=3), 5, 3).learning_rates == (0.0, 3 / 9)
    four = recipe_of(TrainSettings(), 5, 4)
    assert (four.optimizer, four.weight_decay, four.batch_size, four.crop_px, four.rescale) == (
        "adamw",
        0.1,
        1,
        256,
        False,
    )
    # Cellpose's own schedule halves in the last 50 of more than 100 epochs.
    assert recipe_of(TrainSettings(epochs=120), 5, 3).learning_rates[69:76] == (0.1, *[0.05] * 5, 0.025)


def test_the_split_is_made_of_whole_images_and_stays() -> None:
    pixels = {f"f{k}": str(k) for k in range(12)}
    first = split(pixels)
    assert (len(first.train), len(first.validation), len(first.held_out)) == (8, 2, 2)
    assert sorted((*first.train, *first.validation, *first.held_out)) == sorted(pixels)
    more = split({**pixels, "f12": "12", "f13": "13"}, held_out_before={pixels[name] for name in first.held_out})
    assert set(first.held_out) <= set(more.held_out)
    assert len(split(pixels, ["0.5"]).held_out) == 6
    assert split(pixels, ["none"]).held_out == ()
    assert split({"a": "1", "b": "2"}).validation == ()


def test_training_leaves_the_callers_random_numbers_alone(pairs: Path, tmp_path: Path) -> None:
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.RandomState(5).random(3)
    bridge.train(pairs, tmp_path / "m", **{**GENTLE, "epochs": 1})
    assert np.array_equal(np.random.random(3), expected)  # noqa: NPY002


# ---------------------------------------------------------------- models made from models


def test_what_a_base_was_trained_on_does_not_judge(pairs: Path, tmp_path: Path) -> None:
    first = bridge.train(pairs, tmp_path / "a", held_out=["f2"], **{**GENTLE, "epochs": 1})
    card = (first.model.parent / "model_card.md").read_text("utf-8")
    assert f"- Warning: {SHORT}." in card
    own = "- Licence: The base weights (demo) were made by this project from synthetic images, under its own licence (BSD-3-Clause)."
    assert own in card
    again = {**GENTLE, "epochs": 1, "base": str(first.model)}
    for options in ({"held_out": ["f0"]}, {"held_out": ["f2"], "leave_one_out": True}):
        assert refused(InputError, pairs, tmp_path / "b", **{**again, **options}) == (
            f"f0: the base model {first.model} was trained on it (got the same pixels to judge by, expected images it has not seen). "
            "Hold others out (--held-out), or begin from its own base, demo."
        )
    second = bridge.train(pairs, tmp_path / "b", held_out=["f2"], **again)
    assert own in (second.model.parent / "model_card.md").read_text("utf-8")
    record = json.loads((second.model.parent / "training.json").read_text("utf-8"))
    assert len(record["seen_pixels"]) == 2
    # The same images held out in other words are the same training.
    before = tree(tmp_path / "b", ())
    assert bridge.train(pairs, tmp_path / "b", held_out=["f2", "f2"], **again).cycle == 1
    assert tree(tmp_path / "b", ()) == before
    moved = tmp_path / "elsewhere"
    shutil.copy(first.model, moved)
    third = bridge.train(pairs, tmp_path / "c", held_out=["f0"], **{**again, "base": str(moved)})
    assert "a file whose origin is not known here" in (third.model.parent / "model_card.md").read_text("utf-8")


def test_no_image_chooses_the_epoch_where_each_is_left_out(tmp_path: Path) -> None:
    folder = make_pairs(tmp_path / "p", 6)

    def stop(text: str) -> None:
        raise KeyboardInterrupt

    for leave_one_out, judges in ((True, 0), (False, 1)):
        out = tmp_path / str(leave_one_out)
        with pytest.raises(KeyboardInterrupt):
            bridge.train(folder, out, held_out="none", leave_one_out=leave_one_out, say=stop, **GENTLE)
        record = json.loads((out / "cycle_1" / "training.json").read_text("utf-8"))
        assert len(record["made_from"]["validation"]) == judges
    # However large the share, something is left to learn from.
    assert len(split({f"f{k}": str(k) for k in range(8)}, ["none"], 0.95).train) == 1


def test_a_damaged_state_is_named(pairs: Path, tmp_path: Path) -> None:
    def stop(p: Progress) -> None:
        if p.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bridge.train(pairs, tmp_path / "m", held_out=["f2"], progress=stop, **GENTLE)
    state = tmp_path / "m" / "cycle_1" / "training.state"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(OutputError) as found:
        bridge.train(pairs, tmp_path / "m", held_out=["f2"], **GENTLE)
    assert str(found.value) == (
        f"{state}: damaged (RuntimeError; expected the checkpoint of a stopped training). Delete this file: the training begins again from its first epoch."
    )
    state.unlink()
    assert bridge.train(pairs, tmp_path / "m", held_out=["f2"], **GENTLE).model.exists()


# ---------------------------------------------------------------- what is refused


def no_model(out: Path) -> bool:
    """Neither a model nor a half of one; of a training that failed its record and what the base model found."""
    names = {p.name for p in out.rglob("*") if p.is_file() and p.parent.name not in ("flows", "base", "tuned")}
    return names <= {"training.json"}


def refused(error: type[Exception], folder: Path, out: Path, **options: object) -> str:
    with pytest.raises(error) as found:
        bridge.train(folder, out, **{**GENTLE, **options})
    assert no_model(out)
    return str(found.value)


def test_bad_input_is_refused_in_words(pairs: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        shutil.copytree(pairs, tmp_path / name)
        return tmp_path / name

    out = tmp_path / "m"
    lonely = copy("lonely")
    (lonely / "f1.tif").unlink()
    assert refused(InputError, lonely, out) == (
        f"{lonely / 'f1_mask.tif'}: has no image (expected f1.tif or .png in {lonely}). Add it, or remove the label image."
    )
    unlike = copy("unlike")
    tifffile.imwrite(unlike / "f0_mask.tif", np.ones((9, 8), np.uint16))
    assert refused(LabelError, unlike, out) == (
        f"{unlike / 'f0_mask.tif'}: not the size of its image (got 9 x 8, expected 160 x 160 px). Use the label image of f0.tif."
    )
    few = tmp_path / "few"
    few.mkdir()
    tifffile.imwrite(few / "a.tif", np.zeros((80, 80), np.uint8))
    labels = np.zeros((80, 80), np.uint16)
    labels[:9, :9], labels[20:29, 20:29] = 1, 2
    (few / "._a.tif").write_bytes(b"of macOS")
    tifffile.imwrite(few / "a_mask.tif", labels)
    assert refused(LabelError, few, out) == (
        f"{few}: too few cells to learn from (got 2 in 1 images, expected at least 5). Correct more cells."
    )
    fraction = copy("fraction")
    tifffile.imwrite(fraction / "f0_mask.tif", np.full((160, 160), 0.5, np.float32))
    assert "f0_mask.tif: " in refused(LabelError, fraction, out)
    same = copy("same")
    shutil.copy(same / "f0.tif", same / "f2.tif")
    assert refused(InputError, same, out, held_out=["f2"]) == (
        "f0 and f2: the same pixels (got one for training and one held out, expected different images). "
        "Remove one: a model that has seen an image cannot be judged by it."
    )
    assert refused(InputError, pairs, out, held_out=["f9"]) == (
        "--held-out f9: no image of this name (got f9, expected one of f0, f1, f2). Correct it."
    )
    assert refused(InputError, pairs, out, held_out=["f0", "f1", "f2"]) == (
        "f0: held out, as are all the others (got 3 images, expected some that are not). "
        "Hold fewer out, or take others: those that an earlier training held out stay so."
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(InputError, empty, out) == (
        f"{empty}: no label images in it (expected f1_mask.tif, f1_RoiSet.zip or f1_seg.npy for f1.tif). "
        "Correct some cells first, or name their folder with --labels."
    )
    assert refused(InputError, tmp_path / "no", out) == (
        f"{tmp_path / 'no'}: no such folder (expected images and their label images). Check the path."
    )
    twice = copy("twice")
    (twice / "f1_RoiSet.zip").write_bytes(zipped({}))
    assert "two files of one name" in refused(InputError, twice, out)
    assert refused(InputError, pairs, out, epochs=0).startswith("train: epochs: ")
    assert refused(InputError, pairs, out, crop=100).startswith("train: crop: ")
    assert refused(InputError, pairs, out, cellprob_threshold=float("nan")).startswith("train: cellprob-threshold: ")
    assert "unknown setting (got flavour" in refused(InputError, pairs, out, flavour=1)
    yes_or_no = copy("yes_or_no")
    labels = np.zeros((160, 160), np.uint8)
    for k in range(5):
        labels[10:20, 30 * k : 30 * k + 20] = 255
    tifffile.imwrite(yes_or_no / "f0_mask.tif", labels)
    assert refused(LabelError, yes_or_no, out) == (
        f"{yes_or_no / 'f0_mask.tif'}: does not look like a label image (its only id, 255, is in 5 separate places: a binary mask; expected one id for each cell and 0 where none is). Label the cells first, or give --accept-labels if it is right."
    )


def test_nothing_of_others_is_removed(pairs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "m" / "cycle_1" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(OutputError) as found:
        bridge.train(pairs, tmp_path / "m", **GENTLE)
    assert str(found.value) == (
        f"{mine.parent}: is there already, and no training made it (got no training.json in it). "
        "Move it elsewhere, or name another folder with --out."
    )
    assert mine.read_text() == "mine"
    (mine.parent / "training.json").write_text("[]")
    with pytest.raises(
        OutputError,
        match=r"training\.json: not the record of a training \(ValueError: it holds a list, not an object\)\. Delete the folder",
    ):
        bridge.train(pairs, tmp_path / "m", **GENTLE)


def test_names_that_are_one_file_name_and_images_that_are_there_twice(pairs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    shutil.copytree(pairs, folder)
    for ending in (".tif", "_mask.tif"):
        (folder / f"f1{ending}").rename(folder / f"a b{ending}")
        (folder / f"f2{ending}").rename(folder / f"a_b{ending}")
    assert refused(InputError, folder, tmp_path / "m") == (
        f"{folder}: two images of nearly one name (got a b and a_b, expected names that differ as file names). Rename one."
    )
    for ending in (".tif", "_mask.tif"):
        shutil.copy(folder / f"f0{ending}", folder / f"g0{ending}")
        (folder / f"a b{ending}").unlink()
    assert refused(InputError, folder, tmp_path / "m") == (
        "f0 and g0: the same pixels (got one image twice, expected each once). Remove one."
    )


def test_what_was_held_out_stays_so_whatever_the_network_sees(pairs: Path, tmp_path: Path) -> None:
    quick = {**GENTLE, "epochs": 1}
    bridge.train(pairs, tmp_path / "m", held_out=["f2"], **quick)
    other = bridge.train(
        pairs, tmp_path / "m", held_out="none", colour="merged", cellprob_threshold=-99, flow_threshold=0, **quick
    )
    assert other.split.held_out == ("f2",)
    assert other.warnings == ("held out in an earlier cycle, so still: f2", SHORT)
    assert other.cycle == 2
    other.model.write_bytes(b"other")
    with pytest.raises(OutputError) as found:
        bridge.train(
            pairs, tmp_path / "m", held_out="none", colour="merged", cellprob_threshold=-99, flow_threshold=0, **quick
        )
    assert str(found.value) == (
        f"{other.model.parent}: what this training wrote was changed or removed (expected m_2 and its tables as they were). "
        "Delete the folder to train again."
    )


def test_a_card_that_could_not_be_written_is_written_the_next_time(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bridge.training.cycle

    def stop(*given: object) -> str:
        raise KeyboardInterrupt

    quick = {**GENTLE, "epochs": 1}
    card = bridge.training.card.card
    monkeypatch.setattr(bridge.training.cycle, "card", stop)
    with pytest.raises(KeyboardInterrupt):
        bridge.train(pairs, tmp_path / "m", **quick)
    monkeypatch.setattr(bridge.training.cycle, "card", card)
    trained = bridge.train(pairs, tmp_path / "m", **quick)
    assert (trained.model.parent / "model_card.md").is_file()
    assert (tmp_path / "m" / "cycles.csv").is_file()
    assert not (trained.model.parent / "training.state").exists()


def test_held_out_names_may_look_like_anything() -> None:
    pixels = {"a,1": "1", "1.5": "2", "b": "3", "c": "4"}
    assert split(pixels, ["a,1"]).held_out == ("a,1",)
    assert split(pixels, ["1.5"]).held_out == ("1.5",)
    assert split(pixels, ["b,c"]).held_out == ("b", "c")
    for wrong in ("nan", "-1", "1", "inf"):
        with pytest.raises(InputError) as found:
            split(pixels, [wrong])
        assert str(found.value) == (
            f"--held-out {wrong}: not a share, and no image of this name (got {wrong}, expected more than 0 and less than 1). Correct it."
        )


def test_a_model_may_be_named_transformer(tmp_path: Path) -> None:
    from bridge.segmentation.backend import new_network

    new_network(tmp_path / "transformer_1", 32)
    assert Segmenter(str(tmp_path / "transformer_1"), "cpu").info["device"] == "cpu"


def test_a_base_of_the_other_cellpose_is_refused(pairs: Path, tmp_path: Path) -> None:
    import torch

    torch.save({"W2": torch.zeros(1)}, tmp_path / "sam")
    said = refused(ModelError, pairs, tmp_path / "m", base=str(tmp_path / "sam"))
    assert (
        said
        == f"{tmp_path / 'sam'}: a model of Cellpose 4 (got Cellpose 3 installed). Run it with 'cellpose>=4.2.1,<4.3'."
    )


def test_a_loss_that_is_no_number_and_a_model_that_finds_nothing(pairs: Path, tmp_path: Path) -> None:
    said = refused(SegmentationError, pairs, tmp_path / "m", learning_rate=1e12)
    assert re.fullmatch(
        r"training: the loss is not a number at epoch 3 \(got (nan|inf)\). Nothing was written; use a smaller --learning-rate.",
        said,
    )
    # A training that failed does not stand in the way of the next.
    assert bridge.train(pairs, tmp_path / "m", **{**GENTLE, "epochs": 1}).cycle == 1
    said = refused(SegmentationError, pairs, tmp_path / "n", base="none", features=2, epochs=1)
    assert said == (
        "training: the model finds no cell in any image (got 0 in 3 images with cells). "
        "No model was written; train longer, or use a smaller --learning-rate."
    )


def test_a_full_disk_leaves_no_half_model(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import torch

    class Full(io.RawIOBase):
        def __init__(self, file: io.BufferedWriter) -> None:
            self.file, self.left = file, 10_000

        def write(self, part: bytes) -> int:
            self.left -= len(part)
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(part)

    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(state, Full(file)))
    out = tmp_path / "m"
    with pytest.raises(MissingDependencyError) as found:
        bridge.train(pairs, out, **{**GENTLE, "epochs": 1})
    assert str(found.value) == (
        f"{out / 'cycle_1' / 'training.state'}: the disk is full or over its quota (No space left on device). "
        "Make room and give the same command again; what is done is kept."
    )
    assert no_model(out)
