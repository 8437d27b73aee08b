"""Cells corrected in Fiji or in the Cellpose GUI: opened, collected, listed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from bridge.errors import BridgeError, InputError
from bridge.files import sha256, whole_file, write_bytes
from bridge.images.image import Plane
from bridge.images.label_images import read_labels, write_labels
from bridge.images.reader import inspect, read_plane
from bridge.images.write import write_image
from bridge.labels import Labels, label_ids
from bridge.names import SEG_SUFFIX
from bridge.pipeline.finished_run import FinishedRun, open_run
from bridge.rois.change import Change, apply_corrections
from bridge.rois.roiset import read_roiset, selections_of
from bridge.source import ChannelFile, at_address
from bridge.tables import CORRECTIONS, Column, read_table, typed_table, write_table

FOLDER = "corrections"
_ROISET = "_RoiSet.zip"
_CELLPOSE = f"_cellpose{SEG_SUFFIX}"
_HIDDEN = (
    Column("name", "str", "", "name that hides the condition"),
    Column("field_id", "str", "", "field it stands for"),
)


@dataclass(frozen=True)
class Collected:
    """What came back from the corrections of a run.

    Attributes
    ----------
    masks : dict of str to Path
        Corrected label image of each field that was changed.
    changes : DataFrame
        As `corrections.csv`: one row for each cell that is not as it was.
    failures : tuple of (str, str)
        Field and what is wrong with its correction.
    warnings : tuple of str
        What may not have been meant.
    """

    masks: dict[str, Path]
    changes: pd.DataFrame
    failures: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()


def correct(
    results: Path | str,
    fields: Sequence[str] = (),
    hide_condition: bool = False,
    tool: Literal["fiji", "cellpose"] = "fiji",
) -> list[Path]:
    """Write what a person needs to correct the cells of fields; a correction begun earlier is left as it is.

    Parameters
    ----------
    results : Path or str
        Folder of a run.
    fields : sequence of str
        Their `field_id`; all of them if none is named.
    hide_condition : bool
        Name the files so that they do not tell the condition.
    tool : {"fiji", "cellpose"}
        For Fiji: all channels as one image, and the ROI set to edit. For the Cellpose GUI: the image in which the cells
        were found, and its `_seg.npy`.

    Returns
    -------
    list of Path
        What is to be edited: `corrections/<name>_RoiSet.zip` or `corrections/<name>_cellpose_seg.npy`.

    Raises
    ------
    InputError
        Not the folder of a run, or no such field.
    OutputError
        A file cannot be written.
    """
    run = open_run(Path(results))
    done = {item.field_id: item for item in run.fields}
    for name in fields:
        if name not in done:
            raise InputError(
                f"{results}: no finished field {name} (got {name}, expected one of {_listed(list(done))}). Look at fields.csv."
            )
    paths = pd.read_csv(run.out / "fields.csv", dtype=str, keep_default_na=False).set_index("field_id")
    folder = run.out / FOLDER
    names = _hidden(run, list(fields) or list(done)) if hide_condition else {}
    written = []
    for field_id in fields or done:
        name = names.get(field_id, field_id)
        edited = folder / (f"{name}{_ROISET}" if tool == "fiji" else f"{name}{_CELLPOSE}")
        written.append(edited)
        if edited.exists():
            continue
        images = {
            channel: at_address(run.plan.root, text, run.out / "fields.csv")
            for channel, column in _image_columns(run)
            if (text := str(paths.loc[field_id].get(column, "")))
        }
        planes = {channel: _plane(file, channel, run.settings.rgb_channel) for channel, file in images.items()}
        if tool == "fiji":
            if planes:
                _write_channels(folder / f"{name}.tif", planes)
            write_bytes(edited, run.folder.roiset(done[field_id]).read_bytes())
            continue
        shown = next(iter(planes.values()), None)
        if shown is None:
            raise InputError(f"{field_id}: has no image (got a label image alone). Correct it in Fiji.")
        _write_seg(edited, shown, read_labels(run.folder.mask(done[field_id])))
    return written


def collect(results: Path | str) -> Collected:
    """Turn edited ROI sets (and `_seg.npy`) into corrected label images and list what changed.

    A ROI that selects exactly the pixels of a cell is that cell and keeps its label; see
    `bridge.rois.change.apply_corrections` for the others. `rois/` and `masks/` stay as they are.

    Parameters
    ----------
    results : Path or str
        Folder of a run, with `corrections/` in it.

    Returns
    -------
    Collected
        Also written: `corrections/<field_id>_mask.tif` and `corrections.csv`.

    Raises
    ------
    InputError
        Not the folder of a run, or nothing in `corrections/`.
    """
    run = open_run(Path(results))
    folder = run.out / FOLDER
    edited = sorted([*folder.glob(f"*{_ROISET}"), *folder.glob(f"*{_CELLPOSE}")])
    if not edited:
        raise InputError(
            f"{folder}: nothing to collect (expected ..._RoiSet.zip or ..._cellpose_seg.npy in it). Begin with: cellpose-fiji correct {results} --field NAME"
        )
    hidden = _names_hidden(run.out)
    fields = {item.field_id: item for item in run.fields}
    masks: dict[str, Path] = {}
    rows: list[dict[str, Any]] = []
    failures: list[tuple[str, str]] = []
    warnings = [
        f"{path}: not collected (expected a name that ends in {_ROISET} or {_CELLPOSE})"
        for path in sorted(folder.iterdir())
        if path not in edited and (path.suffix.lower() in (".roi", ".zip") or path.name.endswith(SEG_SUFFIX))
    ]
    for path in edited:
        name = path.name.removesuffix(_ROISET).removesuffix(_CELLPOSE)
        field_id = hidden.get(name, name)
        try:
            if field_id not in fields:
                raise InputError(f"{path}: belongs to no finished field (got {name}). Name it as its field.")
            mask = run.folder.uncorrected(fields[field_id])
            before = read_labels(mask)
            after, changes = _apply(path, before)
            changed = [change for change in changes if change.change != "unchanged"]
            if not changed:
                continue
            if field_id in masks:
                raise InputError(
                    f"{path}: this field was corrected twice (in Fiji and in Cellpose, or under two names). Remove one."
                )
            target = folder / f"{field_id}_mask.tif"
            made_from = {"mask": sha256(mask), "correction": sha256(path)}
            if run.records.current(field_id, "correct", made_from, [target], derived=True) is None:
                run.records.begin(field_id, "correct", made_from, [target])
                write_labels(target, after, inspect(mask).calibration)
                run.records.finish(field_id, "correct", made_from, [target], {"changed": len(changed)})
            gone = sum(change.change in ("deleted", "covered") for change in changes)
            n_before = int(label_ids(before).size)
            if gone > n_before / 2 and gone > 1:
                warnings.append(
                    f"{path}: {gone} of {n_before} cells are gone (ROI Manager > Save writes only the selected ROIs where some are); "
                    "if they were not meant to go, deselect and save again"
                )
            masks[field_id] = target
            rows += [_row(field_id, change) for change in changed]
        except BridgeError as error:
            failures.append((field_id, str(error)))
    for field_id in fields.keys() - masks.keys():
        run.records.withdraw(field_id, "correct")  # of a correction that was undone or cannot be used any more
    table = typed_table(rows, CORRECTIONS)
    write_table(run.out / "corrections.csv", table, CORRECTIONS)
    return Collected(masks, table, tuple(failures), tuple(warnings))


def _apply(path: Path, before: Labels) -> tuple[Labels, list[Change]]:
    shape = (before.shape[0], before.shape[1])
    if path.name.endswith(_ROISET):
        return apply_corrections(before, read_roiset(path, shape), str(path))
    masks = read_labels(path)
    if masks.shape != before.shape:
        raise InputError(
            f"{path}: not the size of its field (got {masks.shape[0]} x {masks.shape[1]}, expected {shape[0]} x {shape[1]} px). Correct the image that was written for it."
        )
    return apply_corrections(before, selections_of(masks), str(path))


def _row(field_id: str, c: Change) -> dict[str, Any]:
    before = " ".join(map(str, c.before))
    values = (field_id, c.change, before, c.after, c.roi, c.before_px, c.after_px, c.iou, c.overlap_px, c.clipped)
    return dict(zip([column.name for column in CORRECTIONS], values, strict=True))


def _image_columns(run: FinishedRun) -> list[tuple[str, str]]:
    """Channels and the columns of fields.csv with their files, the one in which the cells were found first."""
    plan = run.plan
    channels = [(plan.segment_channel, "segment_path")] if plan.segment_channel else []
    channels += [(c, f"measure_path_{c}") for c in plan.measure_channels if c != plan.segment_channel]
    return [*channels, *([(plan.count_channel, "count_path")] if plan.count_channel else [])]


def _plane(file: ChannelFile, channel: str, rgb_channel: str | None) -> Plane:
    several = len(inspect(file).channels) > 1
    return read_plane(replace(file, channel=channel if several else None), rgb_channel, measured=False)


def _write_channels(path: Path, planes: dict[str, Plane]) -> None:
    first = next(iter(planes.values()))
    dtype = np.result_type(*[plane.pixels.dtype for plane in planes.values()])
    stack = np.stack([plane.pixels for plane in planes.values()]).astype(np.float32 if dtype.kind == "f" else dtype)
    write_image(path, stack, first.calibration, list(planes))


def _write_seg(path: Path, plane: Plane, labels: Labels) -> None:
    """Write the image and the dict that the Cellpose GUI opens with it."""
    import tifffile

    image = path.with_name(path.name.removesuffix(SEG_SUFFIX) + ".tif")
    with whole_file(image) as part:
        tifffile.imwrite(part, plane.pixels)
    # The GUI counts the cells by the largest id.
    ids, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape)
    if ids[0] != 0:
        compact = compact + 1
    masks = compact.astype(np.uint16 if compact.max() < 65536 else np.uint32)
    edge = np.zeros(masks.shape, bool)
    edge[:-1] |= masks[:-1] != masks[1:]
    edge[1:] |= masks[:-1] != masks[1:]
    edge[:, :-1] |= masks[:, :-1] != masks[:, 1:]
    edge[:, 1:] |= masks[:, :-1] != masks[:, 1:]
    content = {
        "masks": masks,
        "outlines": masks * edge,
        "chan_choose": [0, 0],
        "ismanual": np.zeros(int(masks.max()), bool),
        "filename": image.name,
        "flows": [],
    }
    with whole_file(path) as part, part.open("wb") as file:
        np.save(file, content, allow_pickle=True)  # type: ignore[arg-type]


def _hidden(run: FinishedRun, fields: list[str]) -> dict[str, str]:
    """Return a name for each field that tells nothing, and note which is which."""
    path = run.out / FOLDER / "hidden.csv"
    known = _names_hidden(run.out)
    names = {f"field_{hashlib.sha256(field_id.encode()).hexdigest()[:6]}": field_id for field_id in fields}
    table = pd.DataFrame(sorted({**known, **names}.items()), columns=[c.name for c in _HIDDEN])
    write_table(path, table, _HIDDEN)
    return {field_id: name for name, field_id in names.items()}


def _names_hidden(out: Path) -> dict[str, str]:
    path = out / FOLDER / "hidden.csv"
    if not path.exists():
        return {}
    table = read_table(path, _HIDDEN)
    return dict(zip(table["name"], table["field_id"], strict=True))


def fields_of(results: Path) -> tuple[list[str], list[str]]:
    """Return the fields of a run that can be corrected, and those of them whose correction was not begun.

    Raises
    ------
    InputError
        Not the folder of a run.
    """
    run = open_run(results)
    folder = run.out / FOLDER
    hidden = _names_hidden(run.out)
    names = {path.name.removesuffix(_ROISET).removesuffix(_CELLPOSE) for path in folder.glob("*")}
    begun = names | {hidden[name] for name in names & hidden.keys()}
    finished = [item.field_id for item in run.fields]
    return finished, [name for name in finished if name not in begun]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
