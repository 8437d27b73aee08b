"""COCO json -> a trained Mask R-CNN that `run --model` takes, and how good it is on images held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridge.errors import InputError, LabelError
from bridge.evaluation.coco_scores import evaluate_coco, read_coco
from bridge.evaluation.split import Split, split
from bridge.files import new_file, require_writable, sha256, write_bytes, write_text
from bridge.images.formats import PLAIN
from bridge.images.reader import read_plane
from bridge.labels import as_labels
from bridge.names import TRAINING_RECORD, image_name, safe_name
from bridge.pipeline.lock import locked
from bridge.scores.coco import annotations_of, counts_of, drawn
from bridge.segmentation.diameter import median_diameter
from bridge.segmentation.mask_rcnn import model_bytes, require_torchvision
from bridge.segmentation.mask_rcnn_networks import Kind, read_base
from bridge.segmentation.mask_rcnn_training import Example, MaskRcnnRecipe, train_network
from bridge.segmentation.segmenter import Segmenter
from bridge.source import ChannelFile

if TYPE_CHECKING:
    from bridge.training_settings import TrainSettings

_BATCH, _EPOCHS, _RATE, _LEAST = 4, 60, 1e-3, 5
_RATE_OF_RESNET = 1e-4  # what it has learnt of photographs is to stay


@dataclass(frozen=True)
class TrainedMaskRcnn:
    """What a training of a Mask R-CNN made.

    Attributes
    ----------
    model : Path
        Model file: what ``run --model`` takes.
    split : Split
    scores : DataFrame or None
        `bridge.evaluation.coco_scores.COCO_SCORES` of the images held out; None where none was.
    """

    model: Path
    split: Split
    scores: pd.DataFrame | None


def train_mask_rcnn(
    coco: Path | str, out: Path | str, settings: TrainSettings, say: Callable[[str], None] = lambda _: None
) -> TrainedMaskRcnn:
    """Train a Mask R-CNN on a COCO json, from nothing or further (``base``), and score it on images held out.

    Parameters
    ----------
    coco : Path or str
        As ``export-coco --classes`` writes it, or any other with run lengths or polygons.
    out : Path or str
        Folder for the model file, ``training.json``, ``curve.csv`` and the scores.
    settings : TrainSettings
        ``base, images, held_out, epochs, learning_rate, batch_size, crops, features, seed, device, segment, segment_with, colour`` count.
    say : callable
        Called with a line of text now and then.

    Returns
    -------
    TrainedMaskRcnn

    Raises
    ------
    InputError
        Not a COCO json, or an image that is not there.
    LabelError
        Too few cells.
    MissingDependencyError
        torchvision is not installed.
    SegmentationError
        The loss is not a number any more.
    OutputError
        The model is there already, or cannot be written.
    """
    require_torchvision("--kind mask-rcnn")
    coco, out, s = Path(coco), Path(out), settings
    content = read_coco(coco)
    classes = [str(c["name"]) for c in content["categories"]]
    examples = dict(_examples(coco, content, s))
    hashes = {name: hashlib.sha256(e.image.tobytes()).hexdigest() for name, e in examples.items()}
    parts = split(hashes, s.held_out, 0.0)
    n = sum(len(examples[name].kinds) for name in parts.train)
    if n < _LEAST:
        raise LabelError(f"{coco}: too few cells to learn from (got {n} in {len(parts.train)} training images, expected at least {_LEAST}). Label more.")  # fmt: skip
    require_writable(out)
    model = new_file(out / safe_name(out.resolve().name))
    channels = {example.image.ndim if example.image.ndim == 2 else len(example.image) for example in examples.values()}
    if len(channels) > 1:
        raise InputError(
            f"{coco}: images of different numbers of channels (expected one). Give the same kind of images."
        )
    n_channels = next(iter(examples.values())).image.shape[0] if next(iter(examples.values())).image.ndim == 3 else 1
    diameter = float(np.median([d for name in parts.train if (d := median_diameter(examples[name].labels))]))
    base = read_base(s.base) if s.base not in (None, "none") else None
    kind = Kind(n_channels, features=max(8, s.features // 8 * 8))
    if base is not None:
        if base.n_channels not in (None, n_channels):
            raise InputError(f"{base.path}: was trained on images of {base.n_channels} channels (got {n_channels}). Give the same kind of images (--segment-with, --colour merged), or leave out --base.")  # fmt: skip
        kind = Kind(n_channels, base.body, base.features)
    rate = s.learning_rate or (_RATE if kind.body == "own" else _RATE_OF_RESNET)
    learnt = [examples[name] for name in parts.train]
    with locked(out):
        how = MaskRcnnRecipe(s.epochs or _EPOCHS, rate, s.batch_size or _BATCH, s.crops or max(8, len(learnt)), s.seed)  # fmt: skip
        net, curve = train_network(learnt, kind, len(classes), how, s.device, diameter, say, base)
        write_bytes(model, model_bytes(net, classes, kind, diameter))
        pd.DataFrame({"epoch": range(1, len(curve) + 1), "loss": curve}).to_csv(out / "curve.csv", index=False)
        scores = _scored(model, examples, parts, content, out, s) if parts.held_out else None
        record = {
            "kind": "mask-rcnn", "model": model.name, "model_sha256": sha256(model), "classes": classes,
            "diameter_px": diameter, "n_channels": n_channels, "body": kind.body, "coco_sha256": sha256(coco), "settings": s.as_json(),
            "base_sha256": base.sha256 if base else None, "train": list(parts.train), "held_out": list(parts.held_out), "torch": version("torch"),
        }  # fmt: skip
        write_text(out / TRAINING_RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return TrainedMaskRcnn(model, parts, scores)


def _examples(coco: Path, content: Mapping[str, Any], s: TrainSettings) -> Iterator[tuple[str, Example]]:
    folder = s.images or coco.parent
    there = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.suffix.lower() in PLAIN}
    by_name: dict[str, list[Path]] = {}
    for path in there.values():
        by_name.setdefault(image_name(path), []).append(path)
    number = {c["id"]: k for k, c in enumerate(content["categories"], 1)}
    for image in content["images"]:
        file = str(image["file_name"])
        found = [there[file]] if file in there else by_name.get(image_name(Path(file)), [])
        if len(found) != 1:
            raise InputError(f"{coco}: {'no image' if not found else 'several images'} of the name {file} in {folder} (expected one). Name the images' folder with --images.")  # fmt: skip
        plane = read_plane(ChannelFile(found[0], s.segment).seen_with(s.segment_with), s.rgb_channel, False, s.colour)
        height, width = plane.pixels.shape
        if (height, width) != (image["height"], image["width"]):
            raise InputError(f"{coco}: {file} has another size than its image (got {image['height']} x {image['width']}, expected {height} x {width} px). Export it again.")  # fmt: skip
        own = [a for a in content["annotations"] if a["image_id"] == image["id"] and not a.get("iscrowd")]
        try:
            runs = [(k, counts_of(a["segmentation"], height, width)) for k, a in enumerate(own, 1)]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"{coco}: {file} has an annotation that cannot be read ({str(error)[:120]}). Export it again.") from None  # fmt: skip
        labels = as_labels(drawn(runs, (height, width), file), file)
        kinds = {k: number[a["category_id"]] for k, a in enumerate(own, 1)}
        yield image_name(Path(file)), Example(plane.seen, labels, {k: kinds[k] for k in np.unique(labels)[1:].tolist()})  # fmt: skip


def _scored(
    model: Path,
    examples: Mapping[str, Example],
    parts: Split,
    content: Mapping[str, Any],
    out: Path,
    s: TrainSettings,
) -> pd.DataFrame:
    """Find the cells of the images held out, write them and their truth as COCO, and score them."""
    segmenter = Segmenter(str(model), s.device)
    ids = {str(c["name"]): c["id"] for c in content["categories"]}
    names = {image_name(Path(i["file_name"])): i for i in content["images"]}
    kept = [names[name] for name in parts.held_out]
    found: list[dict[str, Any]] = []
    for name in parts.held_out:
        cells = segmenter.segment(examples[name].image, name=name)
        for a in annotations_of(cells.labels):
            found.append({"id": len(found) + 1, "image_id": names[name]["id"], **a, "category_id": ids[cells.classes[a["label"]]]})  # fmt: skip
    of = {i["id"] for i in kept}
    truth = {**content, "images": kept, "annotations": [a for a in content["annotations"] if a["image_id"] in of]}
    for k, a in enumerate(truth["annotations"], 1):
        a.setdefault("id", k)
        a.setdefault("iscrowd", 0)
        a.setdefault("area", 0)
    write_text(out / "held_out_truth.json", json.dumps(truth) + "\n")
    write_text(out / "held_out_found.json", json.dumps({**content, "images": kept, "annotations": found}) + "\n")
    (out / "coco_scores.csv").unlink(missing_ok=True)
    return evaluate_coco(out / "held_out_truth.json", out / "held_out_found.json", out)
