"""Sample sheets: file, folder or well -> condition, replicate, sample."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from natsort import natsorted

from bridge.errors import InputError
from bridge.experiment.discover import NamedFile, found_by_name, no_channel
from bridge.settings import Settings

_SHEET_KEYS = ("file", "folder", "well")
_SHEET_COLUMNS = (*_SHEET_KEYS, "condition", "replicate", "sample", "order")


@dataclass(frozen=True)
class Sheet:
    """A sample sheet: its rows, and the column that says which images a row means."""

    path: Path
    key: str
    rows: tuple[dict[str, str], ...]


def read_sheet(path: Path) -> Sheet:
    """Read a sample sheet."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such sample sheet. Check the path given with --samples.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Give a CSV file with --samples.") from None
    except UnicodeDecodeError:
        if content[:2] == b"PK":
            raise InputError(f"{path}: a workbook (expected CSV). Save the sheet as CSV.") from None
        text = content.decode("cp1252", errors="replace")  # what Excel on Windows saves as plain CSV
    first = text.splitlines()[0] if text.strip() else ""
    separator = max(",;\t", key=first.count)
    rows = [
        {(name or "").strip().lower(): (value or "").strip() for name, value in row.items() if name is not None}
        for row in csv.DictReader(text.splitlines(), delimiter=separator)
    ]
    rows = [row for row in rows if any(row.values())]
    columns = set(rows[0]) if rows else set()
    keys = [key for key in _SHEET_KEYS if key in columns]
    if len(keys) != 1 or "condition" not in columns:
        got = ", ".join(sorted(columns)) or "nothing"
        raise InputError(
            f"{path}: not a sample sheet (got columns {got}, expected condition and one of {', '.join(_SHEET_KEYS)}; "
            "replicate, sample and order may follow). Correct the first line."
        )
    for number, row in enumerate(rows, 2):
        if not row[keys[0]] or not row["condition"]:
            raise InputError(
                f"{path}: line {number} lacks {keys[0] if not row[keys[0]] else 'condition'} (got an empty cell). Fill it in."
            )
    doubles = [
        key
        for key, n in Counter(
            _well(row[keys[0]]) if keys[0] == "well" else row[keys[0]].lower() for row in rows
        ).items()
        if n > 1
    ]
    if doubles:
        raise InputError(f"{path}: the same {keys[0]} twice (got {doubles[0]}, expected each once). Remove one line.")
    if "order" in columns:
        rows = natsorted(rows, key=lambda row: row["order"])
    return Sheet(path, keys[0], tuple(rows))


def by_sheet(
    images: Path, files: list[Path], settings: Settings, sheet: Sheet, unfitted: list[str]
) -> tuple[list[NamedFile], list[tuple[Path, str]]]:
    """Return the images of a tree as the sheet names them, and what is ignored."""
    named: list[NamedFile] = []
    ignored: list[tuple[Path, str]] = []
    for path in files:
        item = found_by_name(images, path, settings)
        if item.channel == "":
            ignored.append((path, "no channel word in its name"))
        else:
            named.append(item)
    if not named:
        raise no_channel(images, files, sheet=True)
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
    fitted: dict[str, str] = {}
    for key, items in fields.items():
        rows = [row for row in sheet.rows if _row_fits(images, row[sheet.key], sheet.key, key, items)]
        if sheet.key == "well" and len(rows) > 1:
            raise InputError(
                f"{sheet.path}: a file that could be two wells (got {key}, which fits {rows[0]['well']} and {rows[1]['well']}). Say where the well stands with --pattern, e.g. '{{well}}_{{field}}_{{channel}}.tif'."
            )
        # Of two folders, one in the other, the inner one decides.
        row = max(rows, key=lambda row: len(row[sheet.key]), default=None)
        if row is None:
            ignored += [(item.path, "not in the sample sheet") for item in items]
            continue
        other = fitted.setdefault(row[sheet.key], key)
        if sheet.key == "file" and other != key:
            raise InputError(
                f"{sheet.path}: a file that could be two (got {row['file']}, which fits {other} and {key}). Write it with its folder."
            )
        for item in items:
            item.factors = {**item.factors, **{k: row[k] for k in ("condition", "replicate", "sample") if row.get(k)}}
            if sheet.key == "well":
                item.factors.setdefault("sample", row["well"])
        wanted += items
    for row in sheet.rows:
        if wanted and row[sheet.key] not in fitted:
            unfitted.append(f"{sheet.path.name}: no image fits {sheet.key} {row[sheet.key]} ({row['condition']})")
    if not wanted:
        raise InputError(
            f"{sheet.path}: no image fits any line (got {sheet.key} {sheet.rows[0][sheet.key]}, expected names such as "
            f"{found[0].path.relative_to(images).as_posix()}). Correct the sheet."
        )
    return wanted, ignored


def _row_fits(images: Path, value: str, kind: str, key: str, items: Sequence[NamedFile]) -> bool:
    value = unicodedata.normalize("NFC", value.replace("\\", "/")).strip("/")
    if kind == "folder":
        return any(item.path.relative_to(images).as_posix().lower().startswith(value.lower() + "/") for item in items)
    if kind == "file":
        names = {key.lower(), key.rpartition("/")[2].lower()}
        for item in items:
            relative = item.path.relative_to(images)
            names |= {
                relative.as_posix().lower(),
                relative.with_suffix("").as_posix().lower(),
                relative.name.lower(),
                relative.stem.lower(),
            }
        return value.lower() in names
    wanted = _well(value)
    wells = {_well(item.factors["well"]) for item in items if "well" in item.factors}
    if not wells:
        wells = {_well(word) for word in re.findall(r"(?<![^\W_])[A-Pa-p]0?\d{1,2}(?![^\W_])", key)}
    return wanted in wells


def _well(text: str) -> str:
    match = re.fullmatch(r"([A-Za-z]+)0*(\d+)", text.strip())
    return f"{match.group(1).upper()}{match.group(2)}" if match else text.strip().upper()
