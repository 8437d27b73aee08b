"""COCO's json: nothing is lost, and COCO's own tools read it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools.coco import COCO

import bridge
from bridge.errors import InputError, LabelError, OutputError
from bridge.images.label_images import read_labels, write_labels
from bridge.scores.coco import annotations_of, drawn, unpacked
from bridge.synthetic import synthetic_field


def field(k: int) -> np.ndarray:
    labels = synthetic_field(seed=70 + k, size_px=120, n_cells=9).cells.astype(np.uint16)
    labels[40:50, 40:50] = 700
    labels[43:47, 43:47] = 0  # a hole
    labels[100:104, 5:9] = labels[110:114, 5:9] = 65535  # two parts
    labels[:, 119] = 3  # a whole column
    return labels[:, k:]


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 0, 1, 2, 9])))
@settings(max_examples=300, deadline=None)
def test_any_label_image_comes_back(labels: np.ndarray) -> None:
    found = annotations_of(labels)
    assert np.array_equal(drawn([(a["label"], a["segmentation"]["counts"]) for a in found], labels.shape), labels)
    assert [a["label"] for a in found] == sorted(set(labels[labels > 0].tolist()))
    for a in found:
        y, x = np.nonzero(labels == a["label"])
        assert a["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert a["area"] == y.size


def test_out_and_in_again_and_cocos_own_tools(tmp_path: Path) -> None:
    for k in range(2):
        write_labels(tmp_path / "masks" / f"f{k}_mask.tif", field(k))
    write_labels(tmp_path / "masks" / "empty_mask.tif", np.zeros((30, 20), np.uint16))
    path = bridge.export_coco(tmp_path / "masks", tmp_path / "cells.json", category="HEK 293 °")
    back = bridge.import_coco(path, tmp_path / "back")
    assert {p.name for p in back} == {"f0_mask.tif", "f1_mask.tif", "empty_mask.tif"}
    for k in range(2):
        assert np.array_equal(read_labels(tmp_path / "back" / f"f{k}_mask.tif"), field(k))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["HEK 293 °"]
    for image in coco.loadImgs(coco.getImgIds()):
        drawn = np.zeros((image["height"], image["width"]), np.uint16)
        for a in coco.loadAnns(coco.getAnnIds(image["id"])):
            mask = coco.annToMask(a).astype(bool)
            assert mask.sum() == a["area"]
            drawn[mask] = a["label"]
        assert np.array_equal(drawn, read_labels(tmp_path / "masks" / image["file_name"]))


def test_names_of_the_images_themselves(tmp_path: Path) -> None:
    write_labels(tmp_path / "masks" / "f0_mask.tif", field(0))
    (tmp_path / "images" / "DMSO").mkdir(parents=True)
    with pytest.raises(InputError) as refused:
        bridge.export_coco(tmp_path / "masks", tmp_path / "c.json", images=tmp_path / "images")
    assert str(refused.value) == (
        f"{tmp_path / 'masks' / 'f0_mask.tif'}: has no image (expected f0.tif or .png in {tmp_path / 'images'}). Add it, or leave out --images."
    )
    tifffile.imwrite(tmp_path / "images" / "DMSO" / "f0.tif", field(0))
    path = bridge.export_coco(tmp_path / "masks", tmp_path / "c.json", images=tmp_path / "images")
    assert json.loads(path.read_text())["images"][0]["file_name"] == "DMSO/f0.tif"
    with pytest.raises(OutputError, match="is there already"):
        bridge.export_coco(tmp_path / "masks", tmp_path / "c.json")


def test_the_conditions_of_a_run_stay_apart(tmp_path: Path) -> None:
    for k, condition in enumerate(("DMSO", "Drug")):
        write_labels(tmp_path / "masks" / condition / "f1_mask.tif", field(k))
        (tmp_path / "images" / condition).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "images" / condition / "f1.tif", field(k))
    path = bridge.export_coco(tmp_path / "masks", tmp_path / "c.json", images=tmp_path / "images")
    assert [i["file_name"] for i in json.loads(path.read_text())["images"]] == ["DMSO/f1.tif", "Drug/f1.tif"]
    back = bridge.import_coco(path, tmp_path / "back")
    assert [p.relative_to(tmp_path / "back").as_posix() for p in back] == ["DMSO/f1_mask.tif", "Drug/f1_mask.tif"]
    assert np.array_equal(read_labels(back[1]), field(1))


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_packed_runs_are_cocos(counts: list[int]) -> None:
    from pycocotools import mask

    total = sum(counts) or 1
    packed = mask.frPyObjects({"size": [total, 1], "counts": counts}, total, 1)["counts"].decode()
    assert unpacked(packed) == counts


def coco_of(*annotations: dict[str, object], categories: tuple[str, ...] = ("cell",)) -> str:
    return json.dumps({
        "images": [{"id": 7, "file_name": "../../up/f1.png", "height": 4, "width": 5}],
        "annotations": [{"id": k, "image_id": 7, "category_id": 1, **a} for k, a in enumerate(annotations)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(categories, 1)],
    })  # fmt: skip


def test_what_other_programs_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from pycocotools import mask

    packed = mask.encode(np.asfortranarray(np.array([[0] * 5, [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0] * 5], np.uint8)))
    square = {"segmentation": {"size": [4, 5], "counts": packed["counts"].decode()}}
    polygon = {"segmentation": [[3, 0, 5, 0, 5, 2, 3, 2]]}
    (tmp_path / "a.json").write_text(coco_of(square, polygon))
    (path,) = bridge.import_coco(tmp_path / "a.json", tmp_path / "out")
    assert path == tmp_path / "out" / "up" / "f1_mask.tif"  # within the folder, whatever the json names
    assert read_labels(path).tolist() == [[0, 0, 0, 2, 2], [0, 1, 1, 2, 2], [0, 1, 1, 0, 0], [0] * 5]
    # Two that overlap: the first keeps its pixels, and it is said.
    (tmp_path / "b.json").write_text(coco_of(square, {"segmentation": {"size": [4, 5], "counts": [0, 20]}}))
    with caplog.at_level(logging.WARNING):
        (path,) = bridge.import_coco(tmp_path / "b.json", tmp_path / "both")
    assert "annotations overlap (4 px); these pixels stay with the earlier one" in caplog.text
    assert (read_labels(path) == 1).sum() == 4
    (tmp_path / "c.json").write_text(
        coco_of(square, {**polygon, "category_id": 2}, categories=("cell", "dead", "none"))
    )
    assert [p.parent.parent.name for p in bridge.import_coco(tmp_path / "c.json", tmp_path / "c")] == ["cell", "dead"]
    assert len(bridge.import_coco(tmp_path / "c.json", tmp_path / "d", category="dead")) == 1
    with pytest.raises(InputError) as refused:
        bridge.import_coco(tmp_path / "c.json", tmp_path / "e", category="alive")
    assert str(refused.value) == (
        f"{tmp_path / 'c.json'}: no such category (got alive, expected one of cell, dead, none). Correct --category."
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "not a COCO json (got something else where a list or an object should be; expected images, annotations and categories). Export it again."),
        ("{", "not a COCO json (Expecting property name enclosed in double quotes: line 1 column 2 (char 1); expected images, annotations and categories). Export it again."),
        (coco_of({"segmentation": {"size": [4, 5], "counts": [0, 21]}}), "up/f1 has an annotation that cannot be read (runs of 21 px in an image of 20). Export it again."),
        (coco_of({"segmentation": {"size": [5, 4], "counts": [0, 2]}}), "up/f1 has an annotation that cannot be read (got size [5, 4], expected [4, 5]). Export it again."),
        (coco_of({"segmentation": [[0, 0, 5, 0, float("nan"), 2]]}), "up/f1 has an annotation that cannot be read (a polygon that leaves the image). Export it again."),
        (coco_of({"segmentation": [[0, 0, 5, 0, 1e9, 2]]}), "up/f1 has an annotation that cannot be read (a polygon that leaves the image). Export it again."),
        (coco_of({"segmentation": {"size": [4, 5], "counts": "o"}}), "up/f1 has an annotation that cannot be read (compressed runs that are cut or damaged). Export it again."),
        (coco_of({"segmentation": [], "category_id": 9}), "not a COCO json (an annotation of image 7 and category 9, which are not both listed; expected images, annotations and categories). Export it again."),
        (coco_of({"segmentation": [], "image_id": "7"}), "not a COCO json (an annotation of image 7 and category 1, which are not both listed; expected images, annotations and categories). Export it again."),
        (coco_of().replace('"height": 4', '"height": 46340').replace('"width": 5', '"width": 46340'), "up/f1 has no size an image can have (got 46340 x 46340 px, expected at most 400000000 px). Export it again."),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}', "not a COCO json (no images, or no categories; expected images, annotations and categories). Export it again."),
        ('{"images": [{"id": 7, "file_name": "f1.tif", "height": 4, "width": 5}], "annotations": [], "categories": []}', "not a COCO json (no images, or no categories; expected images, annotations and categories). Export it again."),
        (coco_of({"segmentation": {"size": [4, 5], "counts": [0, 3.7, 16.3]}}), "up/f1 has an annotation that cannot be read (3.7 where a whole number should be). Export it again."),
        (coco_of({"segmentation": {"size": [4, 5], "counts": [0, 3]}}), "up/f1 has an annotation that cannot be read (runs of 3 px in an image of 20). Export it again."),
        (coco_of({"segmentation": [[0, 0, 2, 0, 2, 2, 1]]}), "up/f1 has an annotation that cannot be read (a polygon of which a coordinate is missing). Export it again."),
        ("{}", "not a COCO json (got none of 'images' where it should be; expected images, annotations and categories). Export it again."),
        (coco_of({"segmentation": {"size": [4, 5], "counts": [0, -3, 23]}}), "up/f1 has an annotation that cannot be read (a run of -3 px). Export it again."),
        (coco_of(categories=("cell", "Cell")), "not a COCO json (two categories of one name; expected images, annotations and categories). Export it again."),
        (coco_of().replace('"../../up/f1.png"', "null"), "not a COCO json (None as the name of an image; expected images, annotations and categories). Export it again."),
        (coco_of({"segmentation": [[1, 2]]}), "up/f1 has an annotation that cannot be read (a polygon of fewer than three corners). Export it again."),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        bridge.import_coco(path, tmp_path / "out")
    assert str(refused.value) == f"{path}: {said}"
    assert not (tmp_path / "out").exists()


def test_what_is_no_cell_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    square = {"size": [4, 5], "counts": [4, 3, 13]}
    path = tmp_path / "a.json"
    path.write_text("\ufeff" + coco_of(
        {"segmentation": square, "label": 7},
        {"segmentation": {"size": [4, 5], "counts": [5, 1, 14]}},
        {"segmentation": [[0.1, 0.1, 0.2, 0.1, 0.2, 0.2]]},
        {"segmentation": {"size": [4, 5], "counts": [0, 1, 18, 1]}, "iscrowd": 1},
    ), "utf-8")  # fmt: skip
    with caplog.at_level(logging.WARNING):
        (mask,) = bridge.import_coco(path, tmp_path / "out")
    assert read_labels(mask).max() == 1
    assert f"{path}: 1 annotations of crowds left out: they are no single cells" in caplog.text
    assert "up/f1 has annotations without a `label` of their own (a whole number from 1 to 16777216): its cells are numbered anew" in caplog.text  # fmt: skip
    assert f"{mask}: 2 annotations have no pixel of their own and are no cells (2, 3)" in caplog.text


def test_brushed_masks_of_cvat_are_cells(tmp_path: Path) -> None:
    brushed = [{"segmentation": {"size": [4, 5], "counts": [4 * k, 3, 17 - 4 * k]}, "iscrowd": 1} for k in range(3)]
    (tmp_path / "a.json").write_text(coco_of(*brushed))
    (mask,) = bridge.import_coco(tmp_path / "a.json", tmp_path / "out")
    assert read_labels(mask).tolist() == [[1, 2, 3, 0, 0]] * 3 + [[0] * 5]


def test_one_odd_annotation_costs_itself_only(tmp_path: Path) -> None:
    good = {"segmentation": {"size": [4, 5], "counts": [4, 3, 13]}}
    path = tmp_path / "a.json"
    path.write_text(coco_of(good, {"segmentation": [[1, 2]]}, {"segmentation": [[0, 0, 2, 0, 2]]}))
    with pytest.raises(LabelError) as refused:
        bridge.import_coco(path, tmp_path / "out")
    assert str(refused.value) == (
        f"{path}: up/f1 has an annotation that cannot be read (a polygon of fewer than three corners); such are 2 of 3. "
        f"The others were written to {tmp_path / 'out'}: export those again, or remove them."
    )
    assert read_labels(tmp_path / "out" / "up" / "f1_mask.tif").max() == 1


def test_nuclei_beside_the_cells_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("f1_mask.tif", "f1_nuclei_mask.tif", "my_nuclei_mask.tif"):
        write_labels(tmp_path / "masks" / name, np.eye(5, dtype=np.uint16))
    with caplog.at_level(logging.WARNING):
        coco = json.loads(bridge.export_coco(tmp_path / "masks", tmp_path / "a.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["f1_mask.tif", "my_nuclei_mask.tif"]
    assert "1 label images of nuclei left out (e.g. f1_nuclei_mask.tif); the cells' are taken" in caplog.text
