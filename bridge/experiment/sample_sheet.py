"""Sample sheets: file, folder or well -> condition, replicate, sample."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from natsort import natsorted

from bridge.errors import InputError
from bridge.experiment.discover import NamedFile, found_by_name, no_channel
from bridge.experiment.fields import root_of
from bridge.experiment.grids import Grid, read_grids
from bridge.experiment.opened import Opened
from bridge.experiment.plate_map import is_plate, rows_of_plate
from bridge.names import one_spelling, safe_name
from bridge.settings import Settings

_SHEET_KEYS = ("file", "folder", "well")
_SHEET_COLUMNS = (*_SHEET_KEYS, "plate", "condition", "replicate", "sample", "cell_type", "order")


@dataclass(frozen=True)
class Sheet:
    """A sample sheet: its rows, and the column that says which images a row means."""

    path: Path
    key: str
    rows: tuple[dict[str, str], ...]


def read_sheet(path: Path, sheet: str | None = None) -> Sheet:
    """Read a sample sheet: a list with a heading for each column, or plate-shaped tables.

    Parameters
    ----------
    path : Path
        CSV or XLSX.
    sheet : str, optional
        Of a workbook.

    Raises
    ------
    InputError
        It cannot be read, or lacks what a sheet must have.
    """
    grids = read_grids(path, sheet)
    lists = [grid for grid in grids if _is_list(grid)]
    plates = [grid for grid in grids if is_plate(grid) and grid not in lists]
    if len(lists) + bool(plates) > 1:
        named = ", ".join(grid.name or "the table" for grid in (*lists, *plates))
        raise InputError(f"{path}: several sample sheets in one file (got {named}, expected one list, or plates alone). Choose one with --samples-sheet.")  # fmt: skip
    if plates:
        rows = rows_of_plate(path, plates)
    else:
        rows = _lines(path, (lists or grids or [Grid("", [])])[0])
    rows = [row for row in rows if any(row.values())]
    columns = set(rows[0]) if rows else set()
    keys = [key for key in _SHEET_KEYS if key in columns]
    if len(keys) != 1 or "condition" not in columns:
        got = ", ".join(sorted(columns)) or "nothing"
        raise InputError(
            f"{path}: not a sample sheet (got columns {got}, expected condition and one of {', '.join(_SHEET_KEYS)}; "
            "plate, replicate, sample, cell_type and order may follow). Correct the first line."
        )
    for number, row in enumerate(rows, 2):
        if not row[keys[0]] or not row["condition"]:
            raise InputError(
                f"{path}: line {number} lacks {keys[0] if not row[keys[0]] else 'condition'} (got an empty cell). Fill it in."
            )
    names = Counter(
        (row.get("plate", "").lower(), _well(row[keys[0]]) if keys[0] == "well" else row[keys[0]].lower())
        for row in rows
    )
    doubles = [" ".join(filter(None, name)) for name, n in names.items() if n > 1]
    if doubles:
        raise InputError(f"{path}: the same {keys[0]} twice (got {doubles[0]}, expected each once). Remove one line.")
    if "order" in columns:
        rows = natsorted(rows, key=lambda row: row["order"])
    return Sheet(path, keys[0], tuple(rows))


def _is_list(grid: Grid) -> bool:
    return _head(grid) is not None


def _head(grid: Grid) -> int | None:
    """Return the row of the headings: the first that has what a list must have; notes may stand above."""
    for k, row in enumerate(grid.cells[:20]):
        headings = {cell.lower() for cell in row}
        if "condition" in headings and not headings.isdisjoint(_SHEET_KEYS):
            return k
    return None


def _lines(path: Path, grid: Grid) -> list[dict[str, str]]:
    filled = [row for row in grid.cells[_head(grid) or 0 :] if any(row)]
    if not filled:
        return []
    headings = [cell.lower() for cell in filled[0]]
    twice = [name for name in headings if name in _SHEET_COLUMNS and headings.count(name) > 1]
    if twice:
        raise InputError(f"{path}: two columns {twice[0]} (expected one). Rename one.")
    return [{name: row[k] if k < len(row) else "" for k, name in enumerate(headings) if name} for row in filled[1:]]


def by_sheet(
    images: Path, files: list[Opened], settings: Settings, sheet: Sheet, unfitted: list[str]
) -> tuple[list[NamedFile], list[tuple[Path, str]]]:
    """Return the images of a tree as the sheet names them, and what is ignored."""
    named: list[NamedFile] = []
    ignored: list[tuple[Path, str]] = []
    for image in files:
        item = found_by_name(image, 0, settings)
        if item.channel == "":
            ignored.append((image.path, "no channel word in its name"))
        else:
            named.append(item)
    if not named:
        raise no_channel(images, [image.path for image in files], sheet=True)
    named, unmatched = join_sheet(images, named, sheet, unfitted)
    return named, ignored + unmatched


def join_sheet(
    images: Path, found: list[NamedFile], sheet: Sheet, unfitted: list[str]
) -> tuple[list[NamedFile], list[tuple[Path, str]]]:
    """Give images found otherwise what the sheet says about them."""
    fields: dict[str, list[NamedFile]] = defaultdict(list)
    for item in found:
        fields[item.key].append(item)
    wanted: list[NamedFile] = []
    ignored: list[tuple[Path, str]] = []
    fitted: dict[str, tuple[str, Path]] = {}
    plates: dict[str, NamedFile] = {}
    for key, items in fields.items():
        rows = [
            row for row in sheet.rows
            if _row_fits(images, row[sheet.key], sheet.key, key, items) and _is_of_plate(images, row.get("plate", ""), items)
        ]  # fmt: skip
        if sheet.key == "well" and len(rows) > 1:
            raise InputError(
                f"{sheet.path}: a file that could be two wells (got {key}, which fits {rows[0]['well']} and {rows[1]['well']}). Say where the well stands with --pattern, e.g. '{{well}}_{{field}}_{{channel}}.tif'."
            )
        # Of two folders, one in the other, the inner one decides.
        row = max(rows, key=lambda row: len(row[sheet.key]), default=None)
        if row is None:
            ignored += [(item.path, "not in the sample sheet") for item in items]
            continue
        row_name = " ".join(filter(None, (row.get("plate"), row[sheet.key])))
        other, of = fitted.setdefault(row_name, (key, items[0].path))
        if sheet.key == "well" and not row.get("plate"):
            _require_one_plate(sheet, images, row["well"], plates.setdefault(_well(row["well"]), items[0]), items[0])
        if sheet.key == "file" and other != key and of != items[0].path:
            raise InputError(
                f"{sheet.path}: a file that could be two (got {row['file']}, which fits {other} and {key}). Write it with its folder."
            )
        for item in items:
            item.factors = {
                **item.factors,
                **{k: row[k] for k in ("condition", "replicate", "sample", "cell_type") if row.get(k)},
            }
            if sheet.key == "well":
                item.factors.setdefault("sample", row_name)
        wanted += items
    for row in sheet.rows:
        row_name = " ".join(filter(None, (row.get("plate"), row[sheet.key])))
        if wanted and row_name not in fitted:
            unfitted.append(f"{sheet.path.name}: no image fits {sheet.key} {row_name} ({row['condition']})")
    if not wanted:
        raise InputError(
            f"{sheet.path}: no image fits any line (got {sheet.key} {sheet.rows[0][sheet.key]}, expected names such as "
            f"{found[0].path.relative_to(root_of(images)).as_posix()}). Correct the sheet."
        )
    return wanted, ignored


def _is_of_plate(images: Path, plate: str, items: Sequence[NamedFile]) -> bool:
    """Return whether a plate's name stands alone in the path of an image."""
    if not plate:
        return True
    # Plate 1, plate_1 and Plate1 are one.
    words = "[ _-]*".join(map(re.escape, re.findall(r"[^\W\d_]+|\d+", plate))) or re.escape(plate)
    wanted = re.compile(rf"(?<![^\W_]){words}(?![^\W_])", re.IGNORECASE)
    return any(wanted.search(one_spelling(item.path.relative_to(root_of(images)).as_posix())) for item in items)


def _require_one_plate(sheet: Sheet, images: Path, well: str, first: NamedFile, item: NamedFile) -> None:
    """The same well in two folders, or beside two words such as plate1 and plate2, is on two plates."""

    def plate(of: NamedFile) -> tuple[str, ...]:
        path = one_spelling(of.path.relative_to(root_of(images)).as_posix())
        words = re.findall(r"(?<![^\W_])plate[ _-]?[^\W_]+", path, re.IGNORECASE)
        return (of.key.rpartition("/")[0], *(word.lower() for word in words))

    if plate(first) != plate(item):
        raise InputError(
            f"{sheet.path}: well {well} is on two plates (got {first.path.relative_to(root_of(images))} and {item.path.relative_to(root_of(images))}, expected one). "
            "Add a column plate, with a word of their names or folders for each plate."
        )


def _row_fits(images: Path, value: str, kind: str, key: str, items: Sequence[NamedFile]) -> bool:
    value = value.replace("\\", "/").strip("/")
    if kind == "folder":
        paths = [one_spelling(item.path.relative_to(root_of(images)).as_posix()).lower() for item in items]
        # A file of several images is a folder, with or without its ending.
        paths += [text.lower() for item in items for text in (item.image.text, "/".join(item.image.parts))]
        return any(path.startswith(value.lower() + "/") for path in paths)
    if kind == "file":
        names = {key.lower(), key.rpartition("/")[2].lower(), safe_name(key.replace("/", "_")).lower()}
        for item in items:
            relative = Path(one_spelling(item.path.relative_to(root_of(images)).as_posix()))
            names |= {
                relative.as_posix().lower(),
                relative.with_suffix("").as_posix().lower(),
                relative.name.lower(),
                relative.stem.lower(),
                "/".join(item.image.parts).lower(),
                item.image.text.lower(),
            }
        return value.lower() in names
    wanted = _well(value)
    wells = {_well(item.factors["well"]) for item in items if "well" in item.factors}
    if not wells:
        wells = {_well(word) for word in re.findall(r"(?<![^\W_])(?:[Aa][A-Fa-f]|[A-Pa-p])0?\d{1,2}(?![^\W_])", key)}
    return wanted in wells


def _well(text: str) -> str:
    match = re.fullmatch(r"([A-Za-z]+)0*(\d+)", text.strip())
    return f"{match.group(1).upper()}{match.group(2)}" if match else text.strip().upper()
