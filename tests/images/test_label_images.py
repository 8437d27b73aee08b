"""Label images in files: of any type that programs save, found by their names, and what only looks like one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from small import make_experiment, make_pairs

from bridge.calibration import Calibration
from bridge.cli.main import main
from bridge.errors import LabelError
from bridge.images.label_check import require_plausible
from bridge.images.label_files import MaskFolder
from bridge.images.label_images import read_labels, write_labels
from bridge.images.objects import read_objects
from bridge.images.reader import inspect
from bridge.labels import as_labels
from bridge.synthetic import synthetic_field

FIELD = synthetic_field(seed=31, size_px=160, n_cells=8)
LABELS = as_labels(FIELD.cells)


def test_the_file_carries_its_calibration(tmp_path: Path) -> None:
    path = tmp_path / "a_mask.tif"
    write_labels(path, np.ones((4, 4), np.uint16), Calibration(0.25, 0.25, "micron"))
    assert inspect(path).calibration == Calibration(0.25, 0.25, "micron")


def test_same_labels_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_labels(tmp_path / f"{name}_mask.tif", np.ones((40, 40), np.uint16))
    assert (tmp_path / "a_mask.tif").read_bytes() == (tmp_path / "b_mask.tif").read_bytes()


def test_masks_of_others_are_found(tmp_path: Path) -> None:
    for name in ("f1_mask.tif", "sub/f2_cp_masks.png", "f3_masks.tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.eye(3, dtype=np.uint8)).save(path)
    assert MaskFolder(tmp_path).find(["f1"]) == tmp_path / "f1_mask.tif"
    assert MaskFolder(tmp_path).find(["nothing", "F2"]) == tmp_path / "sub/f2_cp_masks.png"
    assert MaskFolder(tmp_path).find(["f4"]) is None
    Image.fromarray(np.eye(3, dtype=np.uint8)).save(tmp_path / "f3_mask.tif")
    with pytest.raises(
        LabelError,
        match=r"^f3: several label images fit \(got .*f3_mask\.tif and .*f3_masks\.tif, expected one\)\. Remove one\.$",
    ):
        MaskFolder(tmp_path).find(["f3"])


# ---------------------------------------------------------------- whatever programs save


def palette(entries: int = 256) -> list[int]:
    return np.random.default_rng(2).integers(0, 256, 3 * entries).tolist()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"])  # fmt: skip
@pytest.mark.parametrize("shape", [(160, 160), (1, 160, 160), (160, 160, 1)])
def test_ids_of_every_type(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / "a_mask.tif"
    tifffile.imwrite(path, LABELS.astype(dtype).reshape(shape), compression="zlib")
    np.testing.assert_array_equal(read_labels(path, foreign=True), LABELS)


def test_the_index_of_a_palette_is_the_id(tmp_path: Path) -> None:
    image = Image.fromarray(LABELS.astype(np.uint8), mode="P")
    image.putpalette(palette())
    image.save(tmp_path / "a_mask.png")
    colours = np.array(palette(), np.uint16).reshape(256, 3).T * 257
    tifffile.imwrite(tmp_path / "b_mask.tif", LABELS.astype(np.uint8), photometric="palette", colormap=colours)
    for name in ("a_mask.png", "b_mask.tif"):
        np.testing.assert_array_equal(read_labels(tmp_path / name, foreign=True), LABELS)
        np.testing.assert_array_equal(read_objects(tmp_path / name, foreign=True), LABELS)


def test_what_is_no_plane_of_ids(tmp_path: Path) -> None:
    one_plane = "expected one plane of ids). Save the ids as 16-bit."
    tifffile.imwrite(tmp_path / "z.tif", np.stack([LABELS, LABELS]))
    tifffile.imwrite(tmp_path / "c.tif", np.stack([LABELS.astype(np.uint8)] * 3, axis=-1), photometric="rgb")
    Image.fromarray(np.stack([LABELS.astype(np.uint8)] * 3, axis=-1)).save(tmp_path / "c.png")
    Image.fromarray(LABELS.astype(np.uint8)).save(tmp_path / "j.jpg")
    tifffile.imwrite(tmp_path / "j.tif", LABELS.astype(np.uint8), compression="jpeg")
    tifffile.imwrite(tmp_path / "w.tif", LABELS.astype(np.uint8), photometric="miniswhite")
    tifffile.imwrite(tmp_path / "n.tif", LABELS.astype(np.int16) - 2)
    for name, text in (
        ("z.tif", f"not a label image (got shape (2, 160, 160), {one_plane}"), ("c.tif", f"not a label image (got colour, {one_plane}"),
        ("c.png", f"not a label image (got colour, {one_plane}"),
        ("j.jpg", "not a label image (JPEG changes ids; expected a lossless file). Save the ids as TIFF or PNG."),
        ("j.tif", "not a label image (JPEG changes ids; expected a lossless file). Save the ids as TIFF or PNG."),
        ("w.tif", "an inverted grey scale (white is 0; expected black). Save the label image again."),
        ("n.tif", "negative ids (got -2, expected 0 and above). Save the label image again."),
    ):  # fmt: skip
        with pytest.raises(LabelError) as refused:
            read_labels(tmp_path / name)
        assert str(refused.value) == f"{tmp_path / name}: {text}"


# ---------------------------------------------------------------- what only looks like one


def refusal(labels: np.ndarray) -> str:
    with pytest.raises(LabelError) as refused:
        require_plausible(as_labels(labels), Path("a.tif"))
    text = str(refused.value)
    assert text.endswith(
        "; expected one id for each cell and 0 where none is). Label the cells first, or give --accept-labels if it is right."
    )
    return text.removeprefix("a.tif: does not look like a label image (").partition("; expected one id")[0]


def test_binary_masks() -> None:
    for n in (2, 3, 4, 7):
        for value in (1, 255):
            mask = np.where((LABELS > 0) & (n >= LABELS), value, 0)
            assert refusal(mask) == f"its only id, {value}, is in {n} separate places: a binary mask"
            require_plausible(as_labels(mask), Path("a.tif"), binary=True)
    require_plausible(as_labels(np.where(LABELS == 1, 255, 0)), Path("a.tif"))
    require_plausible(as_labels(np.where((LABELS == 1) | (LABELS == 2), 7, 0)), Path("a.tif"))


def test_backgrounds_that_are_an_id() -> None:
    share = f"{np.count_nonzero(LABELS == 0) / LABELS.size:.0%}"
    text = " covers {} of it and touches all four sides: a background"
    assert refusal(LABELS + 1) == "id 1" + text.format(share)
    assert refusal(np.where(LABELS > 0, 1, 2)) == "id 2" + text.format(share)
    assert refusal(LABELS.astype(np.int64) + 32768) == "id 32768" + text.format(share)


def test_photographs_and_damaged_ids() -> None:
    assert refusal(FIELD.edu).endswith(
        " ids are in several separate places, as in a photograph or with ids cut off at 256"
    )
    assert "separate places" in refusal(FIELD.phase)
    large = np.kron(LABELS * 29, np.ones((2, 2), np.uint16))
    resized = ndimage.zoom(large.astype(float), 1.37, order=1).round().astype(np.int64)
    assert "separate places" in refusal(resized)
    many = np.arange(400).reshape(20, 20).repeat(8, axis=0).repeat(8, axis=1)
    many[::8], many[:, ::8] = 0, 0
    require_plausible(as_labels(many), Path("a.tif"))
    assert refusal(many % 256).startswith("143 of its 255 ids are in several separate places")


def test_cells_of_several_parts_are_label_images() -> None:
    parts = LABELS.copy()
    for label in (1, 2, 3, 4):
        rows = np.flatnonzero((parts == label).any(axis=1))
        parts[rows[len(rows) // 2]] = np.where(parts[rows[len(rows) // 2]] == label, 0, parts[rows[len(rows) // 2]])
    require_plausible(parts, Path("a.tif"))
    require_plausible(np.zeros((5, 5), np.uint16), Path("a.tif"))


def test_real_label_images_are_taken(shared_data: Path) -> None:
    files = [
        path for path in sorted(shared_data.rglob("*"))
        if path.suffix in (".png", ".tif") and (path.parent.name == "labels" or "mask" in path.name)
    ]  # fmt: skip
    assert len(files) >= 60
    for path in files:
        read_labels(path, foreign=True)


def test_every_entrance_has_the_same_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = make_experiment(tmp_path / "images")
    masks = tmp_path / "masks"
    for path in masks.glob("*.tif"):
        tifffile.imwrite(path, np.where(tifffile.imread(path) > 0, 255, 0).astype(np.uint8))
    one = next(masks.glob("*.tif"))
    edu = images / "DMSO" / "day1" / "f1_EdU.tif"
    pairs = make_pairs(tmp_path / "pairs", 3)
    for path in pairs.glob("*_mask.tif"):
        tifffile.imwrite(path, np.where(tifffile.imread(path) > 0, 255, 0).astype(np.uint8))
    out = iter(range(100))
    entrances = (
        ["run", images, "--masks", masks, "--count", "none"], ["rois", one], ["measure", edu, one], ["export-coco", masks],
        ["train", pairs, "--base", "demo", "--epochs", "1", "--device", "cpu"], ["evaluate", masks, masks],
        ["evaluate", pairs, pairs, "--sweep", "--model", "demo", "--device", "cpu"],
    )  # fmt: skip
    for words in entrances:
        folder = tmp_path / f"out{next(out)}" / ("coco.json" if words[0] == "export-coco" else "o")
        folder.parent.mkdir()
        command = [*map(str, words), "--out", str(folder)]
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code in (1, 2), command
        said = " ".join("".join(capsys.readouterr()).split())
        assert "does not look like a label image (its only id, 255, is in" in said, command
        if words[0] in ("rois", "measure", "export-coco", "run"):
            again = [*command[:-1], f"{folder}2{folder.suffix}", "--accept-labels"]
            with pytest.raises(SystemExit) as ended:
                main(again)
            assert ended.value.code == 0, "".join(capsys.readouterr())
            capsys.readouterr()
    content = json.loads((tmp_path / "out3" / "coco.json2.json").read_text())
    assert len(content["annotations"]) == 4


def test_masks_of_the_cellpose_gui_are_found(tmp_path: Path) -> None:
    content = np.array({"masks": LABELS, "outlines": np.zeros(3)}, dtype=object)
    np.save(tmp_path / "f1_seg.npy", content, allow_pickle=True)
    assert MaskFolder(tmp_path).find(["f1"]) == tmp_path / "f1_seg.npy"
    np.testing.assert_array_equal(read_labels(tmp_path / "f1_seg.npy", foreign=True), LABELS)
    write_labels(tmp_path / "f1_cp_masks.tif", LABELS)
    assert MaskFolder(tmp_path).find(["f1"]) == tmp_path / "f1_cp_masks.tif"
