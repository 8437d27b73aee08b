"""Images and their ground truth, found by their names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError, LabelError, RoiError
from bridge.images.formats import PLAIN
from bridge.images.label_files import by_name, label_files
from bridge.images.label_images import read_labels
from bridge.images.reader import decode, inspect, read_plane
from bridge.labels import Labels
from bridge.names import (
    MASK_SUFFIXES,
    ROISET_MARK,
    SEG_SUFFIX,
    TRAINING_RECORD,
    image_name,
    is_leftover,
    is_marked,
    is_roiset,
    rois_that,
)
from bridge.source import ChannelFile, at_address


@dataclass(frozen=True)
class Pair:
    """An image and its ground truth.

    Attributes
    ----------
    name : str
    image : ChannelFile
    labels : Path
    rgb_channel : str or None
        Channel of a colour image.
    colour : str or None
        What the network sees of a colour image: see `bridge.images.colour.two_planes`.
    accept_labels : bool
        Take labels that do not look like any.
    """

    name: str
    image: ChannelFile
    labels: Path
    rgb_channel: str | None = None
    colour: str | None = None
    accept_labels: bool = False


@dataclass(frozen=True)
class Found:
    """The pairs of a folder.

    Attributes
    ----------
    pairs : tuple of Pair
        By name.
    warnings : tuple of str
        What a person should know.
    corrected_model : str
        SHA-256 of the model whose cells a person corrected to make the truth; empty where that is not known.
    """

    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...] = ()
    corrected_model: str = ""


def find_pairs(
    folder: Path,
    labels: Path | None = None,
    channel: str | None = None,
    rgb_channel: str | None = None,
    colour: str | None = None,
    accept_labels: bool = False,
    channel_with: Sequence[str] = (),
) -> Found:
    """Find images and their ground truth.

    Parameters
    ----------
    folder : Path
        Images with a label image (``f1_mask.tif``), a ROI set (``f1_RoiSet.zip``) or the ``f1_seg.npy`` of the Cellpose
        GUI beside each; or the results folder of a run, whose corrected fields are taken. What trainings wrote (a folder
        with a ``training.json``) is not looked into.
    labels : Path, optional
        Folder of the label images, named as the images, with or without ``_mask``.
    channel, rgb_channel, colour : str, optional
        Which channel shows the cells, or what the network sees of a colour image.
    accept_labels : bool
        Take labels that do not look like any: see `bridge.images.label_check`.
    channel_with : sequence of str
        Channels that the network sees beside it. Of a run those that it saw.

    Raises
    ------
    InputError
        No pair, a label image without its image, or two of one name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (expected images and their label images). Check the path.")
    if (folder / "run.json").is_file():
        if labels is not None:
            raise InputError(f"--labels {labels}: not with the results of a run, whose corrections are taken (got {folder}). Leave it out.")  # fmt: skip
        if channel_with:
            raise InputError(f"{folder}: the network is shown what it saw in this run (got further channels {', '.join(channel_with)}, expected none). Leave them out.")  # fmt: skip
        return _of_run(folder, channel, rgb_channel, colour)  # corrections are our own
    if labels is not None and labels.resolve() == folder.resolve():
        labels = None
    truths = by_name(labels or folder, _label_files(labels or folder, labels is not None))
    truth_files = {path.resolve() for path in truths.values()}
    images = by_name(folder, (p for p in _files(folder) if p.suffix.lower() in PLAIN and p.resolve() not in truth_files and not is_leftover(p)))  # fmt: skip
    if not truths:
        raise InputError(
            f"{labels or folder}: no label images in it (expected f1{MASK_SUFFIXES[0]}.tif, f1{ROISET_MARK}.zip or f1{SEG_SUFFIX} for f1.tif). Correct some cells first, or name their folder with --labels."
        )
    # Cellpose's own training sets: 000_img.png and 000_masks.png.
    images = {
        name.removesuffix("_img") if name.removesuffix("_img") in truths else name: p for name, p in images.items()
    }
    alone = [name for name in truths if name not in images]
    if alone:
        raise InputError(
            f"{truths[alone[0]]}: has no image (expected {alone[0]}.tif or .png in {folder}). Add it, or remove the label image."
        )
    bare = [name for name in images if name not in truths]
    warnings = (f"{len(bare)} of {len(images)} images have no label image and are left out: {', '.join(bare[:5])}{' ...' if len(bare) > 5 else ''}",) if bare else ()  # fmt: skip
    shown = {name: ChannelFile(path, channel).seen_with(channel_with) for name, path in images.items()}
    return Found(tuple(Pair(n, shown[n], truths[n], rgb_channel, colour, accept_labels) for n in truths), warnings)


def _files(folder: Path) -> Iterator[Path]:
    every = sorted(folder.rglob("*"))
    ours = {path.parent for path in every if path.name == TRAINING_RECORD}
    for path in every:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and not ours & set(path.parents):
            yield path


def _label_files(folder: Path, every: bool) -> Iterator[Path]:
    """Yield label images and ROI sets; `every` also those that no mark in their name tells."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (expected label images). Check its path.")
    for path in label_files(folder, rois=True):
        if every or path.suffix.lower() == ".zip" or is_marked(path):
            yield path


def _of_run(results: Path, channel: str | None, rgb_channel: str | None, colour: str | None) -> Found:
    import pandas as pd

    from bridge.pipeline.finished_run import open_run

    run = open_run(results)
    rows = pd.read_csv(results / "fields.csv", dtype=str, keep_default_na=False).set_index("field_id")
    pairs = []
    for path in sorted((results / "corrections").glob(f"*{MASK_SUFFIXES[0]}.tif")):
        name = image_name(path)
        if name not in rows.index:
            continue
        image = at_address(run.plan.root, str(rows.loc[name, "segment_path"]), results / "fields.csv")
        several = len(inspect(image).channels) > 1
        shown = channel or (run.plan.segment_channel if several else None)
        also = tuple(
            at_address(run.plan.root, str(rows.loc[name, f"segment_with_path_{c}"]), results / "fields.csv", c)
            for c in run.plan.segment_with
        )
        image = replace(image, channel=shown, also=also)
        pairs.append(Pair(name, image, path, rgb_channel or run.settings.rgb_channel, colour))
    if not pairs:
        raise InputError(
            f"{results / 'corrections'}: no corrected label images (expected FIELD{MASK_SUFFIXES[0]}.tif). Correct cells, then: cellpose-fiji correct --collect {results}"
        )
    return Found(tuple(pairs), (), str((run.segmentation.get("segment") or {}).get("model_sha256", "")))


def read_pair(pair: Pair) -> tuple[npt.NDArray[Any], Labels, list[str]]:
    """Read an image and its ground truth.

    Returns
    -------
    image : ndarray, shape (Y, X) or (C, Y, X)
    labels : ndarray of uint16 or uint32, shape (Y, X)
    warnings : list of str

    Raises
    ------
    InputError, LabelError, RoiError
        One of them cannot be read, or they differ in size.
    """
    image = read_plane(pair.image, pair.rgb_channel, measured=False, colour=pair.colour).seen
    height, width = image.shape[-2:]
    warnings = []
    if is_roiset(pair.labels):
        from bridge.rois.draw import selections_to_labels
        from bridge.rois.roiset import read_roiset

        drawn = selections_to_labels(read_roiset(pair.labels, (height, width)), str(pair.labels))
        labels = drawn.labels
        if drawn.covered:
            raise RoiError(
                f"{pair.labels}: {rois_that('are covered whole by earlier ones', drawn.covered)} (expected pixels of their own). "
                "Put the smaller ROIs first, or draw them apart."
            )
        if drawn.empty:
            warnings.append(f"{pair.labels}: {rois_that('select no pixel of the image', drawn.empty)}")
        if drawn.losses:
            listed = ", ".join(f"{loss.roi} {loss.lost_px} px to {loss.to}" for loss in drawn.losses[:10])
            warnings.append(f"{pair.labels}: {len({loss.roi for loss in drawn.losses})} ROIs overlap earlier ones, which keep the pixels ({listed})")  # fmt: skip
    else:
        labels = read_labels(pair.labels, foreign=not pair.accept_labels)
    if labels.shape != (height, width):
        raise LabelError(
            f"{pair.labels}: not the size of its image (got {labels.shape[0]} x {labels.shape[1]}, expected {height} x {width} px). Use the label image of {pair.image.name}."
        )
    return image, labels, warnings


def image_hash(file: ChannelFile) -> str:
    """Return a hash of an image's pixels as they are in the file, whatever a network is shown of them."""
    return pixel_hash(decode(inspect(replace(file, channel=None)), 0, file.frame or 0))


def pixel_hash(array: npt.NDArray[Any]) -> str:
    """Return a hash of an image's grey levels, whatever type and file they came from."""
    digest = hashlib.sha256(repr(array.shape).encode())
    digest.update(np.ascontiguousarray(array, np.float32).data)
    return digest.hexdigest()
