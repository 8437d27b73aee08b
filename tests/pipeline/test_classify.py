"""Classes of a run: three kinds of truth, tables and ROI sets, undo, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from small import tree

import bridge
from bridge.classification.classifier import Classifier
from bridge.errors import InputError, LabelError
from bridge.images.label_images import read_labels, write_labels
from bridge.rois.roiset import decode_roiset, encode_roiset
from bridge.synthetic import two_types

FIELDS = (("HEK", 0.0, 2), ("N2a", 1.0, 2), ("mixed", 0.5, 2))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two types of cells, pure and mixed: images, label images, truth, and a run."""
    folder = tmp_path_factory.mktemp("types")
    rows, k = [], 0
    for condition, share, n in FIELDS:
        for day in range(n):
            field = two_types(300 + k, share, size_px=256, n_cells=20)
            k += 1
            images = folder / "images" / condition / f"day{day}"
            images.mkdir(parents=True)
            for name, pixels in (("green", field.cytoplasm), ("EdU", field.edu)):
                tifffile.imwrite(images / f"f1_{name}.tif", pixels, imagej=True)
            field_id = f"{condition}_day{day}_f1"
            write_labels(folder / "masks" / f"{field_id}_mask.tif", field.cells)
            rows += [
                (field_id, label, ("HEK", "N2a")[field.kind[label]]) for label in range(1, int(field.cells.max()) + 1)
            ]
    pd.DataFrame(rows, columns=["field_id", "label", "class"]).to_csv(folder / "truth.csv", index=False)
    bridge.run(
        folder / "images", folder / "results", masks=folder / "masks", segment="green", measure=["EdU"], engine="native",
        edu_threshold=["900"],
    )  # fmt: skip
    return folder


@pytest.fixture
def copy(grown: Path, tmp_path: Path) -> Path:
    shutil.copytree(grown / "results", tmp_path / "results")
    return tmp_path / "results"


def test_whole_conditions_as_truth_and_back(grown: Path, copy: Path, tmp_path: Path) -> None:
    before = tree(copy)
    (tmp_path / "pure.csv").write_text("condition;class\nHEK;HEK\nN2a;N2a\n")
    found = bridge.classify(copy, tmp_path / "pure.csv")
    assert found.report.exit_code == 0
    assert found.validation is not None
    assert found.classifier.channels == ("green",)  # EdU answers the question; it makes no class
    cells = pd.read_csv(copy / "cells.csv", keep_default_na=False)
    truth = pd.read_csv(grown / "truth.csv")
    both = cells.merge(truth, on=["field_id", "label"], suffixes=("", "_true"))
    pure, mixed = both[both["condition"] != "mixed"], both[both["condition"] == "mixed"]
    assert (pure["class"] == pure["class_true"]).all()
    assert (pure["class_source"] == "person").all()
    assert (mixed["class_source"] == "model").all()
    assert (mixed["class"] == mixed["class_true"]).mean() > 0.85
    assert mixed["class_probability"].between(0.5, 1).all()
    counts = pd.read_csv(copy / "classes.csv", keep_default_na=False)
    assert counts["n_cells"].sum() == 2 * len(cells)  # whole conditions, and their replicates
    # The class is ImageJ's group, in a second ROI set; the exact one is untouched.
    for item in ("mixed_day0_f1", "HEK_day1_f1"):
        condition = item.split("_")[0]
        labels = read_labels(copy / "masks" / condition / f"{item}_mask.tif")
        rois = copy / "rois" / condition
        exact = decode_roiset((rois / f"{item}_RoiSet.zip").read_bytes(), labels.shape)
        grouped = decode_roiset((rois / f"{item}_classes_RoiSet.zip").read_bytes(), labels.shape)
        assert not exact.group.any()
        assert grouped.names == exact.names
        np.testing.assert_array_equal(grouped.area_px, exact.area_px)
        own = cells[cells["field_id"] == item].set_index("label")["class"]
        names = ("", *found.classifier.classes, "uncertain")
        assert [names[g] for g in grouped.group] == [own[int(name)] for name in grouped.names]
    assert (copy / "overlays" / "mixed" / "mixed_day0_f1_classes.png").is_file()
    coco = json.loads(bridge.export_coco(copy / "masks", tmp_path / "cells.json", classes=copy / "classes").read_text())
    names = {c["id"]: c["name"] for c in coco["categories"]}
    files = {i["id"]: Path(i["file_name"]).name.removesuffix("_mask.tif") for i in coco["images"]}
    said = {(files[a["image_id"]], a["label"]): names[a["category_id"]] for a in coco["annotations"]}
    assert said == cells.set_index(["field_id", "label"])["class"].to_dict()
    (copy / "classes" / "HEK" / "HEK_day0_f1_classes.csv").rename(tmp_path / "kept.csv")
    with pytest.raises(InputError, match=r"HEK_day0_f1_mask.tif: not all of its cells have a class in .*classes"):
        bridge.export_coco(copy / "masks", tmp_path / "other.json", classes=copy / "classes")
    (tmp_path / "kept.csv").rename(copy / "classes" / "HEK" / "HEK_day0_f1_classes.csv")
    files = bridge.plot(copy, tmp_path / "hek", measure="cell_EdU_Mean", cell_class="HEK", formats=("png",))
    assert [p.name for p in files] == ["cell_EdU_Mean.png"]
    with pytest.raises(
        InputError, match=r"--class CHO: no such class of cells \(expected one of HEK, N2a, uncertain\)\. Correct it\."
    ):
        bridge.plot(copy, tmp_path / "cho", cell_class="CHO")
    again = tree(copy)
    bridge.classify(copy, tmp_path / "pure.csv")
    assert tree(copy) == again
    bridge.unclassify(copy)
    after = tree(copy)
    assert {k: v for k, v in after.items() if not k.startswith(("classes/", "records/"))} == {
        k: v for k, v in before.items() if not k.startswith("records/")
    }
    with pytest.raises(InputError, match=r"its cells have no classes\. There is nothing to undo\."):
        bridge.unclassify(copy)


def test_roi_sets_and_groups_as_truth(grown: Path, copy: Path, tmp_path: Path) -> None:
    truth = pd.read_csv(grown / "truth.csv").set_index(["field_id", "label"])["class"]
    folder = tmp_path / "drawn"
    folder.mkdir()
    expected = []
    for field_id in ("mixed_day0_f1", "mixed_day1_f1"):
        labels = read_labels(copy / "masks" / "mixed" / f"{field_id}_mask.tif")
        group = np.zeros(int(labels.max()) + 1, np.uint8)
        for label in np.unique(labels)[1:]:
            group[label] = 1 + (truth[field_id, label] == "N2a")
            expected.append((field_id, int(label), truth[field_id, label]))
        (folder / f"{field_id}_RoiSet.zip").write_bytes(encode_roiset(labels, group))
    bridge.classify(copy, folder, groups=["HEK", "N2a"])
    given = pd.read_csv(copy / "classes" / "truth.csv")
    assert [tuple(row) for row in given.itertuples(index=False)] == expected
    # The same, as a ROI set for each type, drawn smaller than the cells.
    shutil.rmtree(folder)
    for field_id in ("mixed_day0_f1", "mixed_day1_f1"):
        labels = read_labels(copy / "masks" / "mixed" / f"{field_id}_mask.tif")
        inner = labels * (np.roll(labels, 2, 0) == labels) * (np.roll(labels, -2, 1) == labels)
        for name in ("HEK", "N2a"):
            of_type = np.isin(inner, [n for n in np.unique(inner)[1:] if truth[field_id, n] == name])
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{field_id}_RoiSet.zip").write_bytes(encode_roiset(inner * of_type))
    bridge.classify(copy, folder)
    again = pd.read_csv(copy / "classes" / "truth.csv")
    merged = again.merge(given, on=["field_id", "label"], suffixes=("", "_given"))
    assert len(merged) == len(again) >= len(given) - 2
    assert (merged["class"] == merged["class_given"]).all()


def test_a_classifier_of_another_run(grown: Path, copy: Path, tmp_path: Path) -> None:
    found = bridge.classify(copy, grown / "truth.csv", channels=["green", "EdU"])
    file = tmp_path / "kept.json"
    shutil.copy(copy / "classes" / "classifier.json", file)
    classes = pd.read_csv(copy / "cells.csv")["class_probability"]
    bridge.unclassify(copy)
    again = bridge.classify(copy, classifier=file)
    assert again.validation is None
    assert again.classifier == found.classifier
    cells = pd.read_csv(copy / "cells.csv")
    np.testing.assert_array_equal(cells["class_probability"], classes)
    assert set(cells["class_source"]) == {"model"}
    text = file.read_text()
    file.write_text(text.replace('"EdU"', '"GFP"'))
    with pytest.raises(InputError) as refused:
        bridge.classify(copy, classifier=file)
    assert str(refused.value) == f"{file}: looks at a channel that this run does not have (got GFP, expected some of green, EdU). Train one here with --truth."  # fmt: skip
    file.write_text(text.replace('"cell_green_mean"', '"cell_green_hue"'))
    with pytest.raises(InputError) as refused:
        bridge.classify(copy, classifier=file)
    assert str(refused.value) == f"{file}: has other features than this version and run have (cell_green_hue). Train it again with --truth."  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("field_id,label,class\nmixed_day0_f1,999,HEK\n", "{}: line 2 names no cell of mixed_day0_f1 (got label 999, expected one of its label image). Correct it."),
        ("field_id,label,class\nmixed_day0_f1,1,HEK\nmixed_day0_f1,1,N2a\n", "{}: cell 1 of mixed_day0_f1 has two classes (got HEK and N2a, expected one). Remove one."),
        ("field_id,label,class\nf77,1,HEK\n", "{}: line 2 names no finished field (got f77, expected one of HEK_day0_f1, HEK_day1_f1, mixed_day0_f1, mixed_day1_f1, N2a_day0_f1). Correct it."),
        ("field_id,label,class\nmixed_day0_f1,1,\n", "{}: line 2 lacks the class (got an empty cell). Fill it in."),
        ("condition,class\nHEK,HEK\n", "{}: one class only (got HEK, expected two and more). Give cells of another one, too."),
        ("condition,class\nHEK,HEK\nN2a,uncertain\n", "{}: uncertain is no class a person can give (expected a kind of cell). Leave these cells out."),
        ("condition,class\nHEK\nN2a,N2a\n", "{}: line 2 lacks the class (got an empty cell). Fill it in."),
        ("condition,class,\nHEK,x,\nN2a,x,\n", "{}: one class only (got x, expected two and more). Give cells of another one, too."),
        ("condition,class,Class\nHEK,x,y\n", "{}: a column twice (got class, expected each once). Remove one."),
        ('condition,class\nHEK,"a\nb"\nN2a,x\n', "{}: not the name of a class (got 'a\\nb', expected a word without line breaks). Correct it."),
        ("well,kind\nA1,HEK\n", "{}: not a table of classes (got columns well, kind; expected field_id, label, class; or field_id, class; or condition, class). Correct the first line."),
        ("field_id,label,class\n" + "".join(f"HEK_day0_f1,{k},HEK\n" for k in range(1, 15)) + "".join(f"N2a_day0_f1,{k},N2a\n" for k in range(1, 5)),
         "{}: too few cells of class N2a (got 4, expected at least 10). Label more of them."),
    ],
)  # fmt: skip
def test_bad_truth(grown: Path, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    before = tree(grown / "results")
    with pytest.raises((InputError, LabelError)) as refused:
        bridge.classify(grown / "results", path)
    assert str(refused.value) == said.format(path)
    assert tree(grown / "results") == before


def test_no_truth_and_odd_roi_sets(grown: Path, tmp_path: Path) -> None:
    results = grown / "results"
    with pytest.raises(InputError) as refused:
        bridge.classify(results)
    assert str(refused.value) == "classify: nobody said which cell is what (expected --truth, or a column cell_type in the sample sheet). Give a table or ROI sets with --truth."  # fmt: skip
    with pytest.raises(InputError) as refused:
        bridge.classify(results, grown / "truth.csv", channels=["DAPI"])
    assert str(refused.value) == "--channels DAPI: not a channel that all fields have (got DAPI, expected some of green, EdU). Correct it."  # fmt: skip
    folder = tmp_path / "rois"
    folder.mkdir()
    with pytest.raises(InputError, match="no ROI sets in it"):
        bridge.classify(results, folder)
    labels = read_labels(results / "masks" / "mixed" / "mixed_day0_f1_mask.tif")
    path = folder / "mixed_day0_f1_RoiSet.zip"
    path.write_bytes(encode_roiset(labels))
    with pytest.raises(InputError) as refused:
        bridge.classify(results, folder)
    assert str(refused.value) == f"{path}: neither its name nor ImageJ's groups say what its cells are (expected mixed_day0_f1_<class>_RoiSet.zip, or groups). Rename it, or set groups in the ROI Manager."  # fmt: skip
    outside = np.zeros_like(labels)
    y, x = np.argwhere(labels == 0)[0]
    outside[y, x] = 1
    path.rename(folder / "mixed_day0_f1_HEK_RoiSet.zip").write_bytes(encode_roiset(outside))
    with pytest.raises(LabelError) as refused:
        bridge.classify(results, folder)
    assert str(refused.value) == f"{folder / 'mixed_day0_f1_HEK_RoiSet.zip'}: ROI 00001 lies on no cell of mixed_day0_f1 (got 0 of 1 px in one cell, expected more than half of it). Move it, or remove it."  # fmt: skip


def test_cell_type_in_the_sample_sheet(grown: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(
        "folder,condition,replicate,cell_type\n"
        + "".join(f"{c}/day{d},{c},day{d},{c if c != 'mixed' else ''}\n" for c, _, n in FIELDS for d in range(n))
    )
    masks = tmp_path / "masks"
    masks.mkdir()
    out = tmp_path / "results"
    options = {"samples": sheet, "segment": "green", "measure": ["EdU"], "engine": "native", "positive": ["none"]}
    ids = [item.field_id for item in bridge.plan(grown / "images", **options).fields]
    for field_id, path in zip(ids, sorted((grown / "masks").iterdir()), strict=True):
        shutil.copy(path, masks / f"{field_id}_mask.tif")
    bridge.run(grown / "images", out, masks=masks, **options)
    fields = pd.read_csv(out / "fields.csv", keep_default_na=False)
    assert fields.set_index("condition")["cell_type"].to_dict() == {"HEK": "HEK", "N2a": "N2a", "mixed": ""}
    found = bridge.classify(out)
    assert found.classifier.classes == ("HEK", "N2a")
    cells = pd.read_csv(out / "cells.csv")
    assert set(cells[cells["condition"] == "HEK"]["class_source"]) == {"person"}
    assert pd.read_csv(out / "classes.csv", keep_default_na=False)["channel"].unique().tolist() == [""]


def test_an_encoder_is_compared_and_taken(grown: Path, tmp_path: Path) -> None:
    hard = tmp_path / "hard"
    rows = []
    for k in range(4):
        field = two_types(500 + k, 0.5, size_px=256, n_cells=20, hard=True)
        folder = hard / "images" / "mixed" / f"day{k}"
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "f1_green.tif", field.cytoplasm, imagej=True)
        write_labels(hard / "masks" / f"mixed_day{k}_f1_mask.tif", field.cells)
        rows += [(f"mixed_day{k}_f1", n, ("HEK", "N2a")[field.kind[n]]) for n in range(1, int(field.cells.max()) + 1)]
    truth = hard / "truth.csv"
    pd.DataFrame(rows, columns=["field_id", "label", "class"]).to_csv(truth, index=False)
    out = hard / "results"
    bridge.run(hard / "images", out, masks=hard / "masks", segment="green", measure=["none"], engine="native")
    weak = bridge.classify(out, truth)
    assert weak.validation is not None
    assert re.fullmatch(
        r"balanced accuracy 0\.\d\d on held-out fields \(expected 0\.9 and more\): these features do not tell the classes well\. "
        r"Label more cells, give other --channels, or try --features encoder --encoder MODEL",
        weak.warnings[-1],
    )
    both = bridge.classify(out, truth, encoder="demo")
    assert both.validation is not None
    assert both.validation.scores["features"].unique().tolist() == ["declared", "encoder of demo"]
    assert not both.classifier.encoder
    taken = bridge.classify(out, truth, features="encoder", encoder="demo")
    assert (len(taken.classifier.features), taken.classifier.encoder["model"]) == (120, "demo")
    cells = pd.read_csv(out / "cells.csv")
    assert set(cells["class"]) <= {"HEK", "N2a", "uncertain"}
    kept = tmp_path / "encoder.json"
    shutil.copy(out / "classes" / "classifier.json", kept)
    assert bridge.classify(out, classifier=kept).classifier == taken.classifier
    kept.write_text(kept.read_text().replace(taken.classifier.encoder["model_sha256"], "0" * 64))
    with pytest.raises(
        InputError,
        match=r"the encoder demo here has other weights \(got SHA-256 \w{12}\.\.\., expected 000000000000\.\.\.\)\.",
    ):
        bridge.classify(out, classifier=kept)


def test_killed_between_two_truths(grown: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pure.csv").write_text("condition,class\nHEK,HEK\nN2a,N2a\n")
    (tmp_path / "other.csv").write_text("condition,class\nHEK,C\nN2a,D\n")
    before = tree(copy)
    bridge.classify(copy, tmp_path / "pure.csv")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            bridge.classify(copy, tmp_path / "other.csv")
    bridge.run(
        grown / "images", copy, masks=grown / "masks", segment="green", measure=["EdU"], engine="native", edu_threshold=["900"]
    )  # fmt: skip
    assert "class" not in pd.read_csv(copy / "cells.csv")
    assert tree(copy)["cells.csv"] == before["cells.csv"]
    found = bridge.classify(copy, tmp_path / "other.csv")
    assert found.classifier.classes == ("C", "D")


def test_a_field_without_cells(grown: Path, tmp_path: Path) -> None:
    shutil.copytree(grown / "images", tmp_path / "images")
    shutil.copytree(grown / "masks", tmp_path / "masks")
    write_labels(tmp_path / "masks" / "mixed_day1_f1_mask.tif", np.zeros((256, 256), np.uint16))
    out = tmp_path / "results"
    bridge.run(tmp_path / "images", out, masks=tmp_path / "masks", segment="green", measure=["EdU"], engine="native", edu_threshold=["900"])  # fmt: skip
    truth = pd.read_csv(grown / "truth.csv")
    truth[truth["field_id"] != "mixed_day1_f1"].to_csv(tmp_path / "truth.csv", index=False)
    found = bridge.classify(out, tmp_path / "truth.csv")
    assert found.report.exit_code == 0
    assert pd.read_csv(out / "classes" / "mixed" / "mixed_day1_f1_classes.csv").empty
    counts = pd.read_csv(out / "classes.csv", keep_default_na=False)
    assert counts[counts["replicate"] == ""]["n_cells"].sum() == len(pd.read_csv(out / "cells.csv"))
