"""Which class a person gave to which cell: whole fields, ROI sets, tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bridge.classification.classifier import LEAST_CELLS, UNCERTAIN
from bridge.errors import InputError, LabelError
from bridge.images.label_images import read_labels
from bridge.labels import label_ids
from bridge.names import one_spelling
from bridge.pipeline.cell_classes import TRUTH
from bridge.rois.compare import shared_pixels
from bridge.rois.roiset import read_roiset, selections_of
from bridge.tables import typed_table

if TYPE_CHECKING:
    from bridge.experiment.fields import Field
    from bridge.labels import Labels
    from bridge.pipeline.results_folder import ResultsFolder

_SUFFIX = "_RoiSet.zip"
_COLUMNS = "field_id, label, class; or field_id, class; or condition, class"


def read_truth(
    folder: ResultsFolder, fields: Sequence[Field], truth: Path | None, groups: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the classes that persons gave.

    Parameters
    ----------
    folder : ResultsFolder
    fields : sequence of Field
        Those that are finished.
    truth : Path or None
        A table (CSV) of ``field_id, label, class``, of ``field_id, class`` or of ``condition, class`` (whole fields); or a
        folder of ROI sets: ``<class>/<field_id>_RoiSet.zip``, ``<field_id>_<class>_RoiSet.zip``, or
        ``<field_id>_RoiSet.zip`` in which ImageJ's groups are the classes. None: the fields' own `cell_type`.
    groups : sequence of str
        Names of ImageJ's groups 1, 2, ...

    Returns
    -------
    DataFrame
        `bridge.pipeline.cell_classes.TRUTH`, by field and label.

    Raises
    ------
    InputError
        No truth, no such field, one class only, or too few cells of one.
    LabelError
        A label or ROI that is no cell, or a cell of two classes.
    """
    by_id = {item.field_id: item for item in fields}
    if truth is None:
        whole = {item.field_id: item.cell_type for item in fields if item.cell_type}
        if not whole:
            raise InputError(
                "classify: nobody said which cell is what (expected --truth, or a column cell_type in the sample sheet). Give a table or ROI sets with --truth."
            )
        rows, where = list(_of_whole_fields(folder, by_id, whole)), "cell_type"
    elif truth.is_dir():
        rows, where = list(_of_roisets(folder, by_id, truth, groups)), str(truth)
    else:
        rows, where = list(_of_table(folder, by_id, truth)), str(truth)
    table = typed_table([dict(zip(("field_id", "label", "class"), row, strict=True)) for row in rows], TRUTH)
    table = table.drop_duplicates().sort_values(["field_id", "label"], kind="stable").reset_index(drop=True)
    twice = table[table.duplicated(["field_id", "label"], keep=False)]
    if len(twice):
        field_id, label = twice["field_id"].iloc[0], int(twice["label"].iloc[0])
        names = twice[(twice["field_id"] == field_id) & (twice["label"] == label)]["class"]
        raise LabelError(f"{where}: cell {label} of {field_id} has two classes (got {' and '.join(names[:2])}, expected one). Remove one.")  # fmt: skip
    _require_classes(table, where)
    return table


def _require_classes(table: pd.DataFrame, where: str) -> None:
    counts = table["class"].value_counts()
    for name in counts.index:
        if not str(name).strip() or not str(name).isprintable():
            raise InputError(f"{where}: not the name of a class (got {name!r}, expected a word without line breaks). Correct it.")  # fmt: skip
        if str(name).strip().lower() == UNCERTAIN:
            raise InputError(f"{where}: {name} is no class a person can give (expected a kind of cell). Leave these cells out.")  # fmt: skip
    if len(counts) < 2:
        raise InputError(f"{where}: one class only (got {', '.join(counts.index) or 'none'}, expected two and more). Give cells of another one, too.")  # fmt: skip
    if len(counts) > 254:
        raise InputError(f"{where}: too many classes (got {len(counts)}, expected at most 254, ImageJ's groups). Join some.")  # fmt: skip
    name, n = str(counts.index[-1]), int(counts.iloc[-1])
    if n < LEAST_CELLS:
        raise InputError(f"{where}: too few cells of class {name} (got {n}, expected at least {LEAST_CELLS}). Label more of them.")  # fmt: skip


def _labels(folder: ResultsFolder, item: Field) -> Labels:
    return read_labels(folder.mask(item))


def _of_whole_fields(
    folder: ResultsFolder, by_id: Mapping[str, Field], classes: Mapping[str, str]
) -> Iterator[tuple[str, int, str]]:
    for field_id, name in classes.items():
        for label in label_ids(_labels(folder, by_id[field_id])).tolist():
            yield field_id, label, name


def _of_table(folder: ResultsFolder, by_id: Mapping[str, Field], truth: Path) -> Iterator[tuple[str, int, str]]:
    if truth.suffix.lower() == ".zip":
        raise InputError(f"{truth}: one ROI set (expected the folder that it is in). Give its folder with --truth.")
    try:
        table = pd.read_csv(
            truth, dtype=str, keep_default_na=False, sep=None, engine="python", encoding="utf-8-sig", index_col=False
        ).fillna("")
    except FileNotFoundError:
        raise InputError(f"{truth}: no such file or folder (expected a table or ROI sets). Check the path given with --truth.") from None  # fmt: skip
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError, OSError) as error:
        raise InputError(f"{truth}: cannot be read as a table ({str(error)[:120]}; expected CSV with {_COLUMNS}). Save it as CSV.") from None  # fmt: skip
    table.columns = [str(name).strip().lower() for name in table.columns]
    doubled = table.columns[table.columns.duplicated()].tolist()
    if doubled:
        raise InputError(f"{truth}: a column twice (got {doubled[0]}, expected each once). Remove one.")
    key = next((name for name in ("field_id", "condition") if name in table), None)
    named = next((name for name in ("class", "cell_type") if name in table), None)
    if key is None or named is None:
        raise InputError(f"{truth}: not a table of classes (got columns {', '.join(table.columns)}; expected {_COLUMNS}). Correct the first line.")  # fmt: skip
    ids: dict[str, set[int]] = {}
    for line, row in enumerate(table.to_dict("records"), 2):
        name, where = one_spelling(row[named].strip()), one_spelling(row[key].strip())
        if not name and not where:
            continue
        if not name:
            raise InputError(f"{truth}: line {line} lacks the class (got an empty cell). Fill it in.")
        fields = [where] if key == "field_id" else [i.field_id for i in by_id.values() if i.condition == where]
        if not fields or fields[0] not in by_id:
            known = by_id if key == "field_id" else dict.fromkeys(i.condition for i in by_id.values())
            raise InputError(f"{truth}: line {line} names no finished {'field' if key == 'field_id' else key} (got {where}, expected one of {', '.join([*known][:5])}). Correct it.")  # fmt: skip
        if key == "field_id" and "label" in table:
            label = row["label"].strip()
            if where not in ids:
                ids[where] = set(label_ids(_labels(folder, by_id[where])).tolist())
            if not label.isdecimal() or int(label) not in ids[where]:
                raise LabelError(f"{truth}: line {line} names no cell of {where} (got label {label or 'none'}, expected one of its label image). Correct it.")  # fmt: skip
            yield where, int(label), name
        else:
            yield from _of_whole_fields(folder, by_id, dict.fromkeys(fields, name))


def _of_roisets(
    folder: ResultsFolder, by_id: Mapping[str, Field], truth: Path, groups: Sequence[str]
) -> Iterator[tuple[str, int, str]]:
    paths = sorted(
        path for path in truth.rglob("*") if path.suffix.lower() == ".zip" and not path.name.startswith("._")
    )
    if not paths:
        raise InputError(f"{truth}: no ROI sets in it (expected <field_id>{_SUFFIX}). Check the path given with --truth.")  # fmt: skip
    for path in paths:
        stem = path.stem.removesuffix("_RoiSet")
        field_id = max((name for name in by_id if stem == name or stem.startswith(f"{name}_")), key=len, default=None)
        if field_id is None:
            raise InputError(f"{path}: names no finished field (expected e.g. {next(iter(by_id), 'f1')}{_SUFFIX}). Rename it.")  # fmt: skip
        name = stem[len(field_id) + 1 :] or (path.parent.name if path.parent != truth else "")
        yield from _of_roiset(path, field_id, _labels(folder, by_id[field_id]), name, groups)


def _of_roiset(
    path: Path, field_id: str, labels: Labels, name: str, groups: Sequence[str]
) -> Iterator[tuple[str, int, str]]:
    drawn, cells = read_roiset(path, (labels.shape[0], labels.shape[1])), selections_of(labels)
    of_drawn, of_cell, shared = shared_pixels(drawn, cells)
    for k, roi in enumerate(drawn.names):
        group = int(drawn.group[k])
        if not name and not group:
            continue  # of a set with groups, those without one
        pairs = np.flatnonzero(of_drawn == k)
        best = pairs[shared[pairs].argmax()] if pairs.size else -1
        n = int(shared[best]) if pairs.size else 0
        # A cell's own outline, a patch drawn into it, or one drawn around it.
        whole = max(1, min(int(drawn.area_px[k]), int(cells.area_px[of_cell[best]]) if pairs.size else 1))
        if 2 * n <= whole:
            raise LabelError(f"{path}: ROI {roi} lies on no cell of {field_id} (got {n} of {int(drawn.area_px[k])} px in one cell, expected more than half of it). Move it, or remove it.")  # fmt: skip
        said = name or (groups[group - 1].strip() if group <= len(groups) else "") or f"group {group}"
        yield field_id, int(cells.names[of_cell[best]]), one_spelling(said)
    if not name and not drawn.group.any():
        raise InputError(f"{path}: neither its name nor ImageJ's groups say what its cells are (expected {field_id}_<class>{_SUFFIX}, or groups). Rename it, or set groups in the ROI Manager.")  # fmt: skip
