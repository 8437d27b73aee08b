"""Mask R-CNN from COCO: trained, used by `run` as any model, its classes in the tables; and COCO's own scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

import bridge
from bridge.errors import InputError, LabelError, ModelError
from bridge.evaluation.coco_scores import evaluate_coco
from bridge.files import sha256
from bridge.images.label_images import read_labels, write_labels
from bridge.segmentation.mask_rcnn import MaskRcnn, model_bytes
from bridge.segmentation.mask_rcnn_networks import Kind, begin_with, new_mask_rcnn, read_base, train_mode
from bridge.segmentation.models import resolve_model
from bridge.segmentation.segmenter import Segmenter
from bridge.segmentation.watch import Watch
from bridge.synthetic import two_types
from bridge.training.mask_rcnn import train_mask_rcnn
from bridge.training_settings import TrainSettings


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pure images and a mixed one, with a COCO json that has their classes."""
    folder = tmp_path_factory.mktemp("coco")
    for k, share in enumerate((0.0, 1.0, 0.0, 0.5)):
        field = two_types(900 + k, share, size_px=200, n_cells=12)
        images = folder / "images" / "all"
        images.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(images / f"i{k}_green.tif", field.cytoplasm, imagej=True)
        write_labels(folder / "labels" / f"i{k}_green_mask.tif", field.cells)
        ids = np.unique(field.cells)[1:]
        (folder / "classes").mkdir(exist_ok=True)
        pd.DataFrame({"label": ids, "class": np.array(["HEK", "N2a"])[field.kind[ids]]}).to_csv(folder / "classes" / f"i{k}_green_classes.csv", index=False)  # fmt: skip
    bridge.export_coco(folder / "labels", folder / "cells.json", classes=folder / "classes")
    return folder


def settings(folder: Path, **more: object) -> TrainSettings:
    given = {"kind": "mask-rcnn", "images": folder / "images", "held_out": ("i3_green",), "epochs": 2, "crops": 4, "batch_size": 2, "features": 8, "device": "cpu"}  # fmt: skip
    return TrainSettings(**{**given, **more})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    said: list[str] = []
    found = train_mask_rcnn(
        labelled / "cells.json", tmp_path_factory.mktemp("m") / "types", settings(labelled), said.append
    )
    assert found.split.held_out == ("i3_green",)
    assert found.scores is not None
    assert found.scores["class"].tolist() == ["all", "HEK", "N2a"]
    assert found.scores["n_true"].tolist() == [12, 6, 6]
    assert said[-1].startswith("epoch 2 of 2, loss ")
    record = json.loads((found.model.parent / "training.json").read_text())
    assert record["classes"] == ["HEK", "N2a"]
    assert len(pd.read_csv(found.model.parent / "curve.csv")) == 2
    return found.model


def test_the_same_seed_the_same_model(labelled: Path, trained: Path, tmp_path: Path) -> None:
    again = train_mask_rcnn(labelled / "cells.json", tmp_path / "types", settings(labelled)).model
    assert again.read_bytes() == trained.read_bytes()


def test_trained_further(labelled: Path, trained: Path, tmp_path: Path) -> None:
    """From the weights of an earlier one, also with other classes; the loss begins where that one ended."""
    first = pd.read_csv(trained.parent / "curve.csv")["loss"]
    on = train_mask_rcnn(
        labelled / "cells.json", tmp_path / "on", settings(labelled, base=str(trained), features=64)
    ).model
    assert pd.read_csv(on.parent / "curve.csv")["loss"][0] < first[0]
    assert json.loads((on.parent / "training.json").read_text())["base_sha256"] == sha256(trained)
    content = json.loads((labelled / "cells.json").read_text())
    content["categories"].append({"id": 99, "name": "third"})
    (tmp_path / "three.json").write_text(json.dumps(content))
    more = train_mask_rcnn(tmp_path / "three.json", tmp_path / "more", settings(labelled, base=str(trained))).model
    assert Segmenter(str(more), "cpu").model.classes == ("HEK", "N2a", "third")
    with pytest.raises(
        ModelError,
        match=r": not a Mask R-CNN \(expected what train --kind mask-rcnn wrote, or torchvision's Mask R-CNN or ResNet-50\)",
    ):
        train_mask_rcnn(labelled / "cells.json", tmp_path / "m", settings(labelled, base="demo"))


@pytest.fixture(scope="module")
def of_torchvision(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files as torchvision publishes them, with random numbers; the first version's has frozen statistics."""
    from torchvision.models import resnet50
    from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

    folder = tmp_path_factory.mktemp("torchvision")
    torch.manual_seed(1)
    states = {
        "v1": maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict(),
        "v2": maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).state_dict(),
        "alone": resnet50(weights=None).state_dict(),
    }
    states["v1"] = {name: value for name, value in states["v1"].items() if not name.endswith("num_batches_tracked")}
    for name, state in states.items():
        for key in state:
            if key.endswith("running_mean"):
                state[key] = 0.01 * torch.rand_like(state[key])
        torch.save(state, folder / name)
    return {name: folder / name for name in states}


@pytest.mark.parametrize(("name", "body"), [("v1", "resnet50_fpn"), ("v2", "resnet50_fpn_v2"), ("alone", "resnet50_fpn_v2")])  # fmt: skip
def test_torchvisions_weights_are_all_taken(of_torchvision: dict[str, Path], name: str, body: str) -> None:
    base = read_base(str(of_torchvision[name]))
    assert (base.body, base.n_channels, base.sha256) == (body, None, sha256(of_torchvision[name]))
    net = new_mask_rcnn(Kind(3, base.body), 2)
    begin_with(net, base)
    taken, known = net.state_dict(), base.weights
    unlike = {key for key in known if key not in taken or not torch.equal(taken[key], known[key])}
    ends = {"backbone.body.fc.weight", "backbone.body.fc.bias"}
    predictors = {f"roi_heads.{head}.{end}" for end in ("weight", "bias") for head in ("box_predictor.cls_score", "box_predictor.bbox_pred", "mask_predictor.mask_fcn_logits")}  # fmt: skip
    assert unlike == (ends if name == "alone" else predictors)
    assert net.backbone.body.bn1.eps == (0.0 if name == "v1" else 1e-5)


def test_statistics_that_were_given_stay_and_others_are_learnt(of_torchvision: dict[str, Path]) -> None:
    for name, learnt in (("v1", 0), ("v2", 0), ("alone", 16)):
        base = read_base(str(of_torchvision[name]))
        net = new_mask_rcnn(Kind(3, base.body), 2)
        begin_with(net, base)
        train_mode(net, base)
        layers = [layer for layer in net.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        assert sum(layer.training for layer in layers) == learnt
        assert sum(layer.weight.requires_grad for layer in layers) == learnt


def test_colours_are_shared_out(of_torchvision: dict[str, Path]) -> None:
    """A grey image in one channel gives what it gives in red, green and blue; so it does in four."""
    base = read_base(str(of_torchvision["alone"]))
    colours = base.weights["backbone.body.conv1.weight"]
    grey = torch.rand(1, 1, 20, 20)
    expected = torch.nn.functional.conv2d(grey.expand(1, 3, 20, 20), colours)
    for n in (1, 6):
        net = new_mask_rcnn(Kind(n, base.body), 2)
        begin_with(net, base)
        found = torch.nn.functional.conv2d(grey.expand(1, n, 20, 20), net.backbone.body.conv1.weight)
        torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_trained_from_torchvisions_weights(labelled: Path, of_torchvision: dict[str, Path], tmp_path: Path) -> None:
    """Its statistics stay, its weights learn, and `run` takes the model."""
    base = read_base(str(of_torchvision["v1"]))
    model = train_mask_rcnn(labelled / "cells.json", tmp_path / "m", settings(labelled, base=str(base.path))).model
    record = json.loads((model.parent / "training.json").read_text())
    assert (record["body"], record["base_sha256"]) == ("resnet50_fpn", base.sha256)
    weights = torch.load(model, weights_only=True)["weights"]
    for name in ("running_mean", "weight"):
        key = f"backbone.body.layer2.0.bn1.{name}"
        assert torch.equal(weights[key], base.weights[key])
    assert not torch.equal(weights["backbone.body.layer2.0.conv1.weight"], base.weights["backbone.body.layer2.0.conv1.weight"])  # fmt: skip
    assert Segmenter(str(model), "cpu").segment(np.zeros((64, 64), np.float32)).labels.shape == (64, 64)
    on = train_mask_rcnn(labelled / "cells.json", tmp_path / "on", settings(labelled, base=str(model), epochs=1)).model
    assert json.loads((on.parent / "training.json").read_text())["body"] == "resnet50_fpn"


def test_three_channels_of_one_file(labelled: Path, tmp_path: Path) -> None:
    """Learnt from and found in: the first shows the cells, the others go with it."""
    for path in (labelled / "images" / "all").glob("*.tif"):
        green = tifffile.imread(path)
        target = tmp_path / "images" / "all" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(target, np.stack([green, green[::-1], green // 2]), imagej=True, metadata={"axes": "CYX"})
    three = settings(labelled, images=tmp_path / "images", segment="1", segment_with=("2", "3"))
    trained = train_mask_rcnn(labelled / "cells.json", tmp_path / "m", three)
    assert json.loads((trained.model.parent / "training.json").read_text())["n_channels"] == 3
    assert trained.scores is not None
    options = {"model": str(trained.model), "measure": ["3"], "engine": "native", "device": "cpu", "positive": ["none"], "count": "none"}  # fmt: skip
    report = bridge.run(tmp_path / "images", tmp_path / "out", segment="1", segment_with=["2", "3"], **options)
    assert not report.failures
    assert len(list((tmp_path / "out" / "masks").rglob("*_mask.tif"))) == 4
    with pytest.raises(ModelError) as refused:
        bridge.run(tmp_path / "images", tmp_path / "two", segment="1", segment_with=["2"], **options)
    assert str(refused.value) == f"{trained.model}: was trained on images of 3 channels (got 2). Use images of the same channels (--segment-with names further ones; --colour merged gives two)."  # fmt: skip


def test_what_no_training_begins_with(of_torchvision: dict[str, Path], tmp_path: Path) -> None:
    from torchvision.models import resnet18

    path = tmp_path / "w"
    torch.save(resnet18(weights=None).state_dict(), path)
    with pytest.raises(ModelError) as refused:
        read_base(str(path))
    assert str(refused.value) == f"{path}: not a ResNet-50 (expected torchvision's Mask R-CNN or ResNet-50). Give such a file with --base, or leave it out."  # fmt: skip
    boxes = torch.load(of_torchvision["v1"], weights_only=True)
    torch.save({key: value for key, value in boxes.items() if "mask" not in key}, path)
    with pytest.raises(ModelError) as refused:
        read_base(str(path))
    assert str(refused.value) == f"{path}: finds boxes, not masks (expected torchvision's Mask R-CNN or ResNet-50). Give such a file with --base, or leave it out."  # fmt: skip
    torch.save({1: torch.zeros(2)}, path)
    with pytest.raises(ModelError, match=r"not a Cellpose model \("):
        read_base(str(path))
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"not a Cellpose model \("):
        read_base(str(path))


def sure_model(folder: Path, monkeypatch: pytest.MonkeyPatch, labels: np.ndarray, kinds: np.ndarray) -> Path:
    """A model file whose network is asked, and whose answers are those of a network that knows the truth."""
    path = folder / "sure"
    path.write_bytes(model_bytes(new_mask_rcnn(Kind(1, features=8), 2), ["HEK", "N2a"], Kind(1, features=8), 30.0))

    def cells(self: MaskRcnn, planes: np.ndarray, batch_size: int, watch: Watch) -> object:
        assert planes.shape[1:] == labels.shape
        for label in np.unique(labels)[1:].tolist():
            y, x = np.nonzero(labels == label)
            window = slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1)
            yield 1.0 - label / 1000, int(kinds[label]), int(y.min()), int(x.min()), labels[window] == label

    monkeypatch.setattr(MaskRcnn, "_cells", cells)
    return path


def test_classes_reach_the_tables_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field = two_types(77, 0.5, size_px=220, n_cells=14)
    images = tmp_path / "images" / "mixed"
    images.mkdir(parents=True)
    tifffile.imwrite(images / "f1_green.tif", field.cytoplasm, imagej=True)
    tifffile.imwrite(images / "f1_EdU.tif", field.edu, imagej=True)
    kinds = np.where(field.kind == 1, 2, 1)
    model = sure_model(tmp_path, monkeypatch, field.cells, kinds)
    options = {"segment": "green", "engine": "native", "edu_threshold": ["900"], "min_size": 0, "device": "cpu"}
    bridge.run(tmp_path / "images", tmp_path / "out", model=str(model), **options)
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / "masks" / "mixed" / "mixed_f1_mask.tif") > 0, field.cells > 0)  # fmt: skip
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    names = np.array(["", "HEK", "N2a"])
    found = read_labels(tmp_path / "out" / "masks" / "mixed" / "mixed_f1_mask.tif")
    for row in cells.to_dict("records"):
        true = int(np.bincount(field.cells[found == row["label"]]).argmax())
        assert row["class"] == names[kinds[true]]
    assert set(cells["class_source"]) == {"model"}
    assert cells["class_probability"].isna().all()
    assert (tmp_path / "out" / "figures" / "classes.png").is_file()
    bridge.run(tmp_path / "images", tmp_path / "out", model=str(model), **options)
    # Another model, without classes: they go.
    bridge.run(tmp_path / "images", tmp_path / "out", model="demo", update=True, **options)
    assert "class" not in pd.read_csv(tmp_path / "out" / "cells.csv")
    assert not (tmp_path / "out" / "classes.csv").exists()


def test_the_surest_has_the_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((64, 64), np.uint16)
    model = sure_model(tmp_path, monkeypatch, labels, np.array([0]))

    def cells(self: MaskRcnn, planes: np.ndarray, batch_size: int, watch: Watch) -> object:
        yield 0.6, 1, 10, 10, np.ones((20, 20), np.bool_)
        yield 0.9, 2, 20, 20, np.ones((20, 20), np.bool_)
        yield 0.7, 1, 22, 22, np.ones((10, 10), np.bool_)

    monkeypatch.setattr(MaskRcnn, "_cells", cells)
    found = Segmenter(str(model), "cpu").segment(np.arange(64 * 64, dtype=np.float32).reshape(64, 64), 30.0, min_size=0)
    assert sorted(np.bincount(found.labels.ravel())[1:].tolist()) == [300, 400]
    assert found.classes == {int(found.labels[25, 25]): "N2a", int(found.labels[12, 12]): "HEK"}
    assert found.dropped["inside"] == 1


def test_tiles_of_a_large_image(trained: Path) -> None:
    backend = MaskRcnn(resolve_model(str(trained)), torch.device("cpu"))
    found = backend.predict(np.random.default_rng(0).normal(size=(300, 500)).astype(np.float32), None, 2, True)
    assert found.labels.shape == found.kinds.shape == (300, 500)
    assert (found.kinds[found.labels > 0] > 0).all()
    with pytest.raises(ModelError, match=r"was trained on images of 1 channels \(got 2\)"):
        backend.predict(np.zeros((2, 64, 64), np.float32), None, 2, True)


def test_coco_scores_by_class(labelled: Path, tmp_path: Path) -> None:
    same = evaluate_coco(labelled / "cells.json", labelled / "cells.json", tmp_path / "same")
    assert same[["ap", "ap_50", "ap_75"]].to_numpy() == pytest.approx(1.0)
    content = json.loads((labelled / "cells.json").read_text())
    swapped = {c["id"]: 3 - c["id"] for c in content["categories"]}
    for a in content["annotations"]:
        a["category_id"] = swapped[a["category_id"]]
    (tmp_path / "swapped.json").write_text(json.dumps(content))
    assert evaluate_coco(labelled / "cells.json", tmp_path / "swapped.json", tmp_path / "b")["ap_50"].max() == 0
    content["categories"][0]["name"] = "CHO"
    (tmp_path / "odd.json").write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"a category that the truth does not have \(got CHO, expected one of HEK, N2a\)"
    ):
        evaluate_coco(labelled / "cells.json", tmp_path / "odd.json", tmp_path / "d")
    content["categories"][0]["name"] = "HEK"
    content["annotations"] = []
    (tmp_path / "none.json").write_text(json.dumps(content))
    none = evaluate_coco(labelled / "cells.json", tmp_path / "none.json", tmp_path / "c")
    assert none["n_predicted"].tolist() == [0, 0, 0]
    assert none["ap_50"].tolist() == [0, 0, 0]


def test_more_than_a_hundred_cells_count(tmp_path: Path) -> None:
    labels = np.kron(np.arange(1, 170).reshape(13, 13), np.ones((6, 6), int)).astype(np.uint16)
    labels[::6] = 0
    write_labels(tmp_path / "labels" / "a_mask.tif", labels)
    coco = bridge.export_coco(tmp_path / "labels", tmp_path / "a.json")
    assert evaluate_coco(coco, coco, tmp_path / "s")["ap"].tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(categories=[]), "not a COCO json (no categories; expected images, annotations and categories). Export it again."),
        (lambda c: c.pop("annotations"), "not a COCO json (no 'annotations'; expected images, annotations and categories). Export it again."),
        (lambda c: c["annotations"][0].update(category_id=9), "not a COCO json (an annotation of an image or category that is not listed; expected images, annotations and categories). Export it again."),
    ],
)  # fmt: skip
def test_odd_json(labelled: Path, tmp_path: Path, change, said: str) -> None:  # type: ignore[no-untyped-def]
    content = json.loads((labelled / "cells.json").read_text())
    change(content)
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as refused:
        train_mask_rcnn(path, tmp_path / "m", settings(labelled))
    assert str(refused.value) == f"{path}: {said}"


def test_what_cannot_be_trained(labelled: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no image of the name i0_green_mask\.tif in .* \(expected one\)\. Name the images' folder with --images\."):  # fmt: skip
        train_mask_rcnn(labelled / "cells.json", tmp_path / "m", settings(labelled, images=tmp_path))
    content = json.loads((labelled / "cells.json").read_text())
    content["annotations"] = content["annotations"][:3]
    (tmp_path / "few.json").write_text(json.dumps(content))
    with pytest.raises(
        LabelError, match=r"too few cells to learn from \(got 3 in 3 training images, expected at least 5\)"
    ):
        train_mask_rcnn(tmp_path / "few.json", tmp_path / "m", settings(labelled))
    damaged = torch.load(trained, weights_only=True)
    damaged["weights"].popitem()
    torch.save(damaged, tmp_path / "damaged")
    with pytest.raises(ModelError, match=r"damaged: a damaged model \(.*\)\. Train it again\."):
        Segmenter(str(tmp_path / "damaged"), "cpu")


def test_without_torchvision(labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.errors import MissingDependencyError
    from bridge.segmentation import mask_rcnn

    monkeypatch.setattr(mask_rcnn.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError) as refused:
        train_mask_rcnn(labelled / "cells.json", tmp_path / "m", settings(labelled))
    assert str(refused.value) == "--kind mask-rcnn: torchvision is not installed (expected the extra mask-rcnn). Install it: pip install 'cellpose-fiji-bridge[mask-rcnn]'"  # fmt: skip
