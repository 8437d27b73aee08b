"""Folders, file names and sample sheets -> the plan. Every problem with the input is found here, before any work."""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from natsort import natsorted, ns

from bridge.errors import InputError, LabelError
from bridge.images import SUFFIXES, ImageInfo, channel_index, inspect, require_lossless
from bridge.labels import MASK_SUFFIXES, find_mask
from bridge.settings import Settings
from bridge.tables import cell_columns

ROLES = ("segment", "measure", "count")
NONE = "none"

# Words that mean one thing in every lab.
_KNOWN_WORDS = {
    "segment": ("phase[ _-]?contrast", "phase", "ph", "pc", "bright[ _-]?field", "bf", "trans", "dic"),
    "measure": ("edu", "brdu"),
    "count": ("to[ _-]?pro[ _-]?3?", "dapi", "hoechst(?:[ _-]?\\d{5})?"),
}
# Words that could be anything: suggested, never assumed.
_VAGUE_WORDS = (
    "gfp",
    "fitc",
    "rfp",
    "tritc",
    "texas[ _-]?red",
    "cy[357]",
    "alexa[ _-]?\\d{3}",
    "af\\d{3}",
    "405",
    "488",
    "5[46]\\d",
    "594",
    "6[04]\\d",
    "ch\\d{1,2}",
    "c\\d{1,2}",
    "w\\d{1,2}",
    "d\\d",
)
_PLACEHOLDERS = ("condition", "replicate", "sample", "field", "well", "channel")
_SHEET_KEYS = ("file", "folder", "well")
_SHEET_COLUMNS = (*_SHEET_KEYS, "condition", "replicate", "sample", "order")
_RESERVED_NAMES = {"con", "prn", "aux", "nul", *(f"com{i}" for i in range(1, 10)), *(f"lpt{i}" for i in range(1, 10))}


@dataclass(frozen=True)
class ChannelFile:
    """Where one channel of a field is.

    Attributes
    ----------
    path : Path
    channel : str or None
        Name or number of the channel inside the file; None when the file holds one.
    """

    path: Path
    channel: str | None = None


@dataclass(frozen=True)
class Field:
    """One field of view.

    Attributes
    ----------
    field_id : str
        Unique in the experiment without regard to case; every file of the field is named by it.
    condition, replicate, sample : str
        `replicate` and `sample` are empty where they are not known.
    segment, count : ChannelFile or None
    measure : dict of str to ChannelFile
        By channel name.
    mask : Path or None
        Label image that is there already.
    height_px, width_px : int
    dtype : str
        Type of the first measured image, else of the segment image.
    pixel_size_um : float or None
    problems : tuple of str
        Why this field cannot be processed; empty when it can.
    """

    field_id: str
    condition: str
    replicate: str = ""
    sample: str = ""
    segment: ChannelFile | None = None
    measure: dict[str, ChannelFile] = field(default_factory=dict)
    count: ChannelFile | None = None
    mask: Path | None = None
    height_px: int = 0
    width_px: int = 0
    dtype: str = ""
    pixel_size_um: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    images : Path
    fields : tuple of Field
    conditions : tuple of str
        In the order of the sample sheet, else natural order.
    segment_channel, count_channel : str or None
    measure_channels : tuple of str
    warnings : tuple of str
        What the user should know; nothing is stopped by it.
    ignored : tuple of (Path, str)
        Files that play no part, and why.
    """

    images: Path
    fields: tuple[Field, ...]
    conditions: tuple[str, ...]
    segment_channel: str | None
    measure_channels: tuple[str, ...]
    count_channel: str | None
    warnings: tuple[str, ...] = ()
    ignored: tuple[tuple[Path, str], ...] = ()

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """Every (field_id, problem)."""
        return tuple((f.field_id, problem) for f in self.fields for problem in f.problems)


@dataclass
class _Found:
    """A file and what its name says."""

    path: Path
    key: str
    factors: dict[str, str]
    channel: str | None


def make_plan(images: Path, settings: Settings | None = None) -> Plan:
    """Find every field, its condition and its channels.

    Parameters
    ----------
    images : Path
        Folder with a folder for each condition; or any folder, with a name pattern or a sample sheet.
    settings : Settings, optional
        Its plan options say what is what.

    Returns
    -------
    Plan
        Fields that cannot be processed are in it, with their problems.

    Raises
    ------
    InputError
        No image, a pattern that matches nothing, channels that cannot be told apart, or names that collide: nothing
        can be run before the user has decided.

    Examples
    --------
    >>> import tempfile, numpy, tifffile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("phase", "EdU"):
    ...     (folder / "DMSO").mkdir(exist_ok=True)
    ...     tifffile.imwrite(folder / "DMSO" / f"f1_{name}.tif", numpy.ones((8, 8), "uint16"))
    >>> plan = make_plan(folder)
    >>> plan.fields[0].field_id, plan.conditions, plan.measure_channels
    ('DMSO_f1', ('DMSO',), ('EdU',))
    """
    settings = settings or Settings()
    files = _image_files(images)
    beside = [path for path in files if path.stem.lower().endswith(MASK_SUFFIXES)]
    files = [path for path in files if path not in set(beside)]
    if not files:
        raise InputError(
            f"{images}: no image found (got {len(beside)} label images, expected images beside them). Check the path."
        )
    sheet = _read_sheet(settings.samples) if settings.samples else None
    unfitted: list[str] = []
    if settings.pattern:
        found, ignored = _by_pattern(images, files, settings)
    elif sheet:
        found, ignored = _by_sheet(images, files, settings, sheet, unfitted)
    else:
        found, ignored = _by_folder(images, files, settings)
    if settings.pattern and sheet:
        found, more = _join_sheet(images, found, sheet, unfitted)
        ignored += more
    ignored += [(path, "a label image") for path in beside]
    plan = _assign_channels(images, found, ignored, settings)
    plan = _order_conditions(plan, sheet)
    plan = replace(plan, warnings=(*plan.warnings, *unfitted))
    return _check(plan, settings)


# ---------------------------------------------------------------- files -> names


def _image_files(images: Path) -> list[Path]:
    if not images.is_dir():
        what = "is a file" if images.is_file() else "no such folder"
        raise InputError(f"{images}: {what} (expected a folder with images). Check the path.")
    # Results of a run may lie among the images.
    results = {
        file.parent
        for file in images.rglob("run.json")
        if '"cellpose-fiji-bridge"' in file.read_text("utf-8", errors="replace")
    }
    files = [
        path
        for path in images.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(images).parts)
        and results.isdisjoint(path.parents)
    ]
    if not files:
        raise InputError(
            f"{images}: no image found (expected {', '.join(SUFFIXES)} in it or in its folders). Check the path."
        )
    return natsorted(files, key=str, alg=ns.IGNORECASE)


def _channel_regex(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])", re.IGNORECASE)


def _named_channels(settings: Settings) -> list[str]:
    named = [settings.segment, *settings.measure, settings.count]
    return [re.escape(name) for name in named if name and name != NONE and not name.isdecimal()]


def _split_channel(text: str, settings: Settings) -> tuple[str, str | None]:
    """Take the channel word out of a name: ('r1_f1_phase', ...) -> ('r1_f1', 'phase'). The last and longest one counts."""
    known = [word for words in _KNOWN_WORDS.values() for word in words]
    for words in ([*_named_channels(settings), *known], _VAGUE_WORDS):
        matches = [match for word in words for match in _channel_regex([word]).finditer(text)]
        if matches:
            last = max(matches, key=lambda match: (match.end(), match.end() - match.start()))
            rest = text[: last.start()] + text[last.end() :]
            if words is not _VAGUE_WORDS:
                rest = _channel_regex([r"ch\d{1,2}"]).sub("", rest)  # Leica numbers the channels beside their names
            return _tidy(rest), last.group()
    return text, None


def _is_known(channel: str | None, settings: Settings) -> bool:
    words = [*_named_channels(settings), *(word for words in _KNOWN_WORDS.values() for word in words)]
    return channel is not None and any(re.fullmatch(word, channel, re.IGNORECASE) for word in words)


def _tidy(key: str) -> str:
    parts = (re.sub(r"([ ._-])[ ._-]+", r"\1", part).lstrip(" ._").rstrip(" ._-") for part in key.split("/"))
    return "/".join(part for part in parts if part)


def _relative(images: Path, path: Path) -> str:
    return _normal(path.relative_to(images).with_suffix("").as_posix())


def _normal(text: str) -> str:
    """One spelling of each letter; the Greek mu and the micro sign are one."""
    return unicodedata.normalize("NFC", text).replace("\u03bc", "\u00b5")


def _found_by_name(images: Path, path: Path, settings: Settings) -> _Found:
    if _is_multi_channel(path):
        return _Found(path, _relative(images, path), {}, None)
    key, channel = _split_channel(_relative(images, path), settings)
    return _Found(path, key, {}, channel or "")


def _is_multi_channel(path: Path) -> bool:
    try:
        return len(inspect(path).channels) > 1
    except InputError:
        return False


def _by_folder(images: Path, files: list[Path], settings: Settings) -> tuple[list[_Found], list[tuple[Path, str]]]:
    found: list[_Found] = []
    ignored: list[tuple[Path, str]] = []
    for path in files:
        folders = [_normal(part) for part in path.relative_to(images).parts[:-1]]
        if not folders:
            ignored.append((path, "not in a folder of a condition"))
            continue
        item = _found_by_name(images / path.relative_to(images).parts[0], path, settings)
        item.key = f"{folders[0]}/{item.key}"
        if item.channel == "":
            ignored.append((path, "no channel word in its name"))
            continue
        # A folder is the channel's only where the file's own name says none.
        named = item.channel is None or _split_channel(_normal(path.stem), settings)[1] is not None
        deeper = [part if named else _split_channel(part, settings)[0] for part in folders[1:]]
        deeper = [part for part in deeper if part and (named or _same(part) != _same(item.channel or ""))]
        item.factors = {"condition": folders[0], "replicate": "/".join(deeper)}
        found.append(item)
    if not found:
        raise _no_channel(images, files)
    return found, ignored


def _no_channel(images: Path, files: list[Path], sheet: bool = False) -> InputError:
    flat = all(len(path.relative_to(images).parts) == 1 for path in files)
    names = ", ".join(path.name for path in files[:3])
    if flat and not sheet:
        return InputError(
            f"{images}: a flat folder (got {names}{', ...' if len(files) > 3 else ''}; expected a folder for each condition). "
            "Say how the names are built with --pattern, e.g. '{condition}_{field}_{channel}.tif', or give a sample sheet with --samples."
        )
    return InputError(
        f"{images}: no channel word in any file name (got {names}; expected phase, EdU, TO-PRO-3 and the like). "
        "Name the channels with --segment, --measure and --count, or the parts of the names with --pattern."
    )


def _by_pattern(images: Path, files: list[Path], settings: Settings) -> tuple[list[_Found], list[tuple[Path, str]]]:
    pattern = settings.pattern or ""
    regex, greedy = _pattern_regex(pattern, settings), _pattern_regex(pattern, settings, greedy=True)
    found: list[_Found] = []
    ignored: list[tuple[Path, str]] = []
    for path in files:
        text = _normal(path.relative_to(images).as_posix())
        match = regex.fullmatch(text)
        if match is None:
            ignored.append((path, "does not match the pattern"))
            continue
        groups = match.groupdict()
        other = greedy.fullmatch(text)
        # A channel that is known or was named beats a reading in which another word is the channel.
        decided = (
            other is not None
            and _is_known(groups.get("channel"), settings)
            and not _is_known(other["channel"], settings)
        )
        if other is not None and other.groupdict() != groups and not decided:
            a, b = (
                ", ".join(f"{k} {v}" for k, v in g.items() if v != h[k])
                for g, h in ((groups, other.groupdict()), (other.groupdict(), groups))
            )
            raise InputError(
                f"{path}: fits the pattern in two ways (got {a}; or {b}). Put literal text into --pattern, or give a sample sheet with --samples."
            )
        channel = groups.pop("channel", None)
        key = text
        if channel is not None:
            start, end = match.span("channel")
            key = text[:start] + text[end:]
        key = _tidy(key[: -len(path.suffix)] if key.endswith(path.suffix) else key)
        extra = [groups.pop(name) for name in list(groups) if name not in _PLACEHOLDERS]
        if extra:
            # A placeholder of the user's own is one more factor of the treatment.
            groups["condition"] = " ".join([*extra, *([groups["condition"]] if groups.get("condition") else [])])
        found.append(_Found(path, key, {k: v for k, v in groups.items() if v}, channel))
    if not found:
        first = files[0].relative_to(images).as_posix()
        raise InputError(
            f"{images}: the pattern matches nothing (got {pattern}, expected it to fit names such as {first}). Correct --pattern."
        )
    return found, ignored


def _pattern_regex(pattern: str, settings: Settings, greedy: bool = False) -> re.Pattern[str]:
    known = [word for words in _KNOWN_WORDS.values() for word in words]
    parts: list[str] = []
    seen: set[str] = set()
    for literal, name in re.findall(r"([^{}]*)(?:\{([^{}]*)\})?", pattern):
        parts.append(re.escape(_normal(literal)))
        if not name:
            continue
        if not name.isidentifier() or name in seen:
            raise InputError(
                f"--pattern: {{{name}}} cannot be used {'twice' if name in seen else 'as a name'} (got {pattern}, expected e.g. {{condition}}_{{channel}}.tif). Correct it."
            )
        seen.add(name)
        if name == "channel":
            parts.append(f"(?P<channel>(?i:{'|'.join([*_named_channels(settings), *known])})|[^/_]+)")
        else:
            parts.append(f"(?P<{name}>[^/]+{'' if greedy else '?'})")
    if not seen:
        raise InputError(
            f"--pattern: no placeholder in it (got {pattern}, expected e.g. {{condition}}_{{channel}}.tif). Correct it."
        )
    suffix = "" if pattern.lower().endswith(SUFFIXES) else rf"(?i:{'|'.join(re.escape(s) for s in SUFFIXES)})"
    return re.compile("".join(parts) + suffix)


# ---------------------------------------------------------------- sample sheet


@dataclass(frozen=True)
class _Sheet:
    path: Path
    key: str
    rows: tuple[dict[str, str], ...]


def _read_sheet(path: Path) -> _Sheet:
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
    return _Sheet(path, keys[0], tuple(rows))


def _by_sheet(
    images: Path, files: list[Path], settings: Settings, sheet: _Sheet, unfitted: list[str]
) -> tuple[list[_Found], list[tuple[Path, str]]]:
    found: list[_Found] = []
    ignored: list[tuple[Path, str]] = []
    for path in files:
        item = _found_by_name(images, path, settings)
        if item.channel == "":
            ignored.append((path, "no channel word in its name"))
        else:
            found.append(item)
    if not found:
        raise _no_channel(images, files, sheet=True)
    found, more = _join_sheet(images, found, sheet, unfitted)
    return found, ignored + more


def _join_sheet(
    images: Path, found: list[_Found], sheet: _Sheet, unfitted: list[str]
) -> tuple[list[_Found], list[tuple[Path, str]]]:
    fields: dict[str, list[_Found]] = defaultdict(list)
    for item in found:
        fields[item.key].append(item)
    kept: list[_Found] = []
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
        kept += items
    for row in sheet.rows:
        if kept and row[sheet.key] not in fitted:
            unfitted.append(f"{sheet.path.name}: no image fits {sheet.key} {row[sheet.key]} ({row['condition']})")
    if not kept:
        raise InputError(
            f"{sheet.path}: no image fits any line (got {sheet.key} {sheet.rows[0][sheet.key]}, expected names such as "
            f"{found[0].path.relative_to(images).as_posix()}). Correct the sheet."
        )
    return kept, ignored


def _row_fits(images: Path, value: str, kind: str, key: str, items: Sequence[_Found]) -> bool:
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


# ---------------------------------------------------------------- channels -> roles


def _same(channel: str) -> str:
    """TO-PRO-3, ToPro3 and topro_3 are one channel."""
    return re.sub(r"[\W_]", "", channel.casefold()) or channel


def _role_of_word(channel: str) -> str | None:
    for role, words in _KNOWN_WORDS.items():
        if any(re.fullmatch(word, channel, re.IGNORECASE) for word in words):
            return role
    return None


def _assign_channels(images: Path, found: list[_Found], ignored: list[tuple[Path, str]], settings: Settings) -> Plan:
    ids = _field_ids(images, found)
    # Channels by file name, or inside a file; the first spelling is the name.
    files: dict[str, dict[str, list[ChannelFile]]] = defaultdict(lambda: defaultdict(list))
    spelling: dict[str, str] = {}
    broken: dict[str, str] = {}
    numbers = {name for name in (settings.segment, *settings.measure, settings.count) if name and name.isdecimal()}
    for item in found:
        entry = files[ids[item.key]]
        if item.channel is None:
            try:
                info = inspect(item.path)
            except InputError as error:
                broken[ids[item.key]] = str(error)
                continue
            for number, name in enumerate(info.channels, 1):
                # A number means that channel of each file, whatever the file calls it.
                for word in dict.fromkeys((name, str(number)) if str(number) in numbers else (name,)):
                    spelling.setdefault(_same(word), word)
                    entry[_same(word)].append(ChannelFile(item.path, word if len(info.channels) > 1 else None))
        else:
            spelling.setdefault(_same(item.channel), item.channel)
            entry[_same(item.channel)].append(ChannelFile(item.path))
    segment, measure, count = _roles(images, spelling, settings)
    playing = {name for name in (segment, *measure, count) if name}
    factors = {ids[item.key]: item.factors for item in found}
    fields: list[Field] = []
    for field_id, channels in files.items():
        if not playing & set(channels) and field_id not in broken:
            continue
        problems: list[str] = [broken[field_id]] if field_id in broken else []
        for role in (segment, *measure, count):
            doubles = channels.get(role, []) if role else []
            if role and len(doubles) > 1:
                problems.append(
                    f"{field_id}: two {spelling[role]} images (got {doubles[0].path.name} and {doubles[1].path.name}, "
                    "expected one). Remove or rename one."
                )

        def one(name: str | None, channels: dict[str, list[ChannelFile]] = channels) -> ChannelFile | None:
            return channels[name][0] if name and channels.get(name) else None

        given = factors[field_id]
        sample = given.get("sample") or given.get("well") or ""
        fields.append(
            Field(
                field_id,
                condition=given.get("condition") or "all",
                replicate=given.get("replicate") or "",
                sample=sample,
                segment=one(segment),
                measure={spelling[name]: file for name in measure if (file := one(name))},
                count=one(count),
                problems=tuple(problems),
            )
        )
    used = {file.path for f in fields for file in (f.segment, *f.measure.values(), f.count) if file}
    doubled = {file.path for f in files.values() for name in playing for file in f.get(name, [])}
    for item in found:
        if item.path not in used | doubled and ids[item.key] not in broken:
            ignored.append(
                (item.path, f"channel {item.channel} has no role" if item.channel else "no channel of it has a role")
            )
    return Plan(
        images,
        tuple(fields),
        (),
        spelling[segment] if segment else None,
        tuple(spelling[name] for name in measure),
        spelling[count] if count else None,
        ignored=tuple(natsorted(ignored, key=lambda pair: str(pair[0]))),
    )


def _roles(images: Path, spelling: dict[str, str], settings: Settings) -> tuple[str | None, list[str], str | None]:
    def named(wanted: str, flag: str) -> str:
        if _same(wanted) in spelling:
            return _same(wanted)
        raise InputError(
            f"{images}: no channel {wanted} (got {', '.join(spelling.values()) or 'none'}). Correct --{flag}."
        )

    by_role: dict[str, list[str]] = defaultdict(list)
    for key, name in spelling.items():
        role = _role_of_word(name)
        if role:
            by_role[role].append(key)

    measure = [named(name, "measure") for name in settings.measure if name != NONE]
    count = named(settings.count, "count") if settings.count and settings.count != NONE else None
    if settings.segment and settings.segment != NONE:
        segment: str | None = named(settings.segment, "segment")
    else:
        candidates = [key for key in by_role["segment"] if key not in measure and key != count]
        if len(candidates) > 1:
            raise InputError(
                f"{images}: several channels could be the one with the cells (got {', '.join(spelling[c] for c in candidates)}, expected one). Name it with --segment."
            )
        segment = candidates[0] if candidates else None
    if segment is None and settings.masks is None:
        raise InputError(
            f"{images}: no phase-contrast channel (got {', '.join(spelling.values())}; expected phase, PH, PC, BF or trans). "
            f"Name the channel in which the cells are found, e.g. --segment {_suggest(spelling, by_role, measure)}."
        )
    if not settings.measure:
        measure = [key for key in by_role["measure"] if key not in (segment, count)]
        others = [name for key, name in spelling.items() if key not in (segment, count) and not _role_of_word(name)]
        if not measure and others:
            raise InputError(
                f"{images}: no EdU channel (got {', '.join(spelling.values())}). "
                f"If it is one of {', '.join(others)}, say so with --measure {others[0]}; --measure none ends at ROI sets and areas."
            )
    if settings.count is None:
        candidates = [key for key in by_role["count"] if key != segment and key not in measure]
        if len(candidates) > 1:
            raise InputError(
                f"{images}: several channels could be the nuclei to count (got {', '.join(spelling[c] for c in candidates)}, expected one). Name it with --count."
            )
        count = candidates[0] if candidates else None
    measure = list(dict.fromkeys(measure))
    files = Counter(safe_name(spelling[name]).lower() for name in measure)
    columns = Counter(
        c.name
        for c in cell_columns([spelling[m] for m in measure], ["Mean", "StdDev", "Min", "Max", "IntDen", "RawIntDen"])
    )
    if max(files.values(), default=0) > 1 or max(columns.values()) > 1:
        raise InputError(
            f"{images}: channels that would share files or columns (got {', '.join(spelling[m] for m in measure)}, expected names that differ by more). Rename one."
        )
    return segment, measure, count


def _suggest(spelling: dict[str, str], by_role: dict[str, list[str]], measure: list[str]) -> str:
    candidates = [*by_role["count"], *(key for key in spelling if key not in measure and key not in by_role["measure"])]
    return spelling[candidates[0]] if candidates else next(iter(spelling.values()))


def _field_ids(images: Path, found: Sequence[_Found]) -> dict[str, str]:
    ids = {item.key: safe_name(item.key.replace("/", "_") or item.path.parent.name) for item in found}
    taken: dict[str, str] = {}
    for key, field_id in ids.items():
        other = taken.setdefault(field_id.lower(), key)
        if other != key:
            raise InputError(
                f"{images}: two fields get the same name {field_id} (got {other} and {key}, expected names that differ by more than case or punctuation). Rename one."
            )
    return ids


def safe_name(text: str) -> str:
    """Return `text` as a file name that is legal and the same on every system.

    Examples
    --------
    >>> safe_name("10 µM: drug/A?")
    '10_µM_drug_A'
    >>> safe_name("con")
    'con_'
    """
    text = unicodedata.normalize("NFC", text)
    name = re.sub(r"[^\w.+,=()-]+", "_", text).strip("._ ") or "_"
    if name.split(".")[0].lower() in _RESERVED_NAMES:
        name += "_"
    if len(name.encode()) > 120:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[:110].decode(errors="ignore") + "_" + digest
    return name


# ---------------------------------------------------------------- order and checks


def _order_conditions(plan: Plan, sheet: _Sheet | None) -> Plan:
    present = list(dict.fromkeys(f.condition for f in plan.fields))
    if sheet:
        order = list(dict.fromkeys(row["condition"] for row in sheet.rows))
        conditions = order + [name for name in natsorted(present, alg=ns.IGNORECASE) if name not in order]
    else:
        conditions = natsorted(present, alg=ns.IGNORECASE)
    folders = Counter(safe_name(name).lower() for name in conditions)
    clash = next((name for name in conditions if folders[safe_name(name).lower()] > 1), None)
    if clash is not None:
        twins = [name for name in conditions if safe_name(name).lower() == safe_name(clash).lower()]
        raise InputError(
            f"{plan.images}: conditions that differ only by case or punctuation (got {twins[0]} and {twins[1]}). Give them one name, or two that differ."
        )
    if "all_conditions" in folders:
        raise InputError(
            f"{plan.images}: a condition called all_conditions (expected another name: the summary's workbook is called so). Rename it."
        )
    fields = natsorted(plan.fields, key=lambda f: (conditions.index(f.condition), f.replicate, f.sample, f.field_id))
    warnings = [f"condition {name} has no field" for name in conditions if name not in present]
    return replace(plan, fields=tuple(fields), conditions=tuple(conditions), warnings=tuple(warnings))


def _check(plan: Plan, settings: Settings) -> Plan:
    if not plan.fields:
        raise InputError(
            f"{plan.images}: no field (got {len(plan.ignored)} files that play no part). Check --pattern, --samples and the channel names."
        )
    if settings.masks is not None and not settings.masks.is_dir():
        raise InputError(f"{settings.masks}: no such folder of label images. Check the path given with --masks.")
    fields = tuple(_check_field(plan, f, settings) for f in plan.fields)
    shared = Counter(f.mask for f in fields if f.mask)
    fields = tuple(
        replace(
            f,
            problems=(
                *f.problems,
                f"{f.field_id}: another field would use {f.mask}, too (expected a label image of its own). Name it {f.field_id}_mask.tif.",
            ),
        )
        if f.mask and shared[f.mask] > 1
        else f
        for f in fields
    )
    warnings = [*plan.warnings, *_mixtures(fields, plan)]
    if settings.masks is not None:
        plain = Settings()
        names = ("model", "diameter", "min_size", "border", "flow_threshold", "cellprob_threshold")
        unused = [f"--{n.replace('_', '-')}" for n in names if getattr(settings, n) != getattr(plain, n)]
        if unused and (not plan.count_channel or {"--model", "--diameter"} & set(unused)):
            warnings.append(f"label images are taken as they are: {', '.join(unused)} change nothing in them")
    return replace(plan, fields=fields, warnings=tuple(warnings))


def _check_field(plan: Plan, item: Field, settings: Settings) -> Field:
    problems = list(item.problems)
    mask = None
    if settings.masks is not None:
        files = [f.path for f in (item.segment, *item.measure.values(), item.count) if f]
        inside = [path.relative_to(plan.images).with_suffix("").as_posix() for path in files]
        try:
            mask = find_mask(settings.masks, [item.field_id, *inside, *(path.stem for path in files)])
        except LabelError as error:
            problems.append(str(error))
        else:
            if mask is None:
                problems.append(
                    f"{item.field_id}: no label image in {settings.masks} (expected {item.field_id}{MASK_SUFFIXES[0]}.tif). Add it, or leave out --masks."
                )
    elif item.segment is None and plan.segment_channel and not problems:
        problems.append(
            f"{item.field_id}: no {plan.segment_channel} image (expected one beside the others). Add it, or take the field out."
        )
    for channel in plan.measure_channels:
        if channel not in item.measure and not item.problems:
            problems.append(
                f"{item.field_id}: no {channel} image (expected one beside the others). Add it, or take the field out."
            )
    if plan.count_channel and item.count is None and not item.problems:
        problems.append(
            f"{item.field_id}: no {plan.count_channel} image (expected one beside the others). Add it, take the field out, or give --count none."
        )
    infos: dict[str, ImageInfo] = {}
    roles = [
        (plan.segment_channel or "segment", item.segment, False),
        *((c, f, True) for c, f in item.measure.items()),
        (plan.count_channel or "count", item.count, True),
    ]
    for name, file, measured in roles:
        if file is None:
            continue
        try:
            info = inspect(file.path)
            channel_index(info, file.channel)
            if measured:
                require_lossless(info)
            infos[name] = info
        except InputError as error:
            problems.append(str(error))
    problems += _unlike_sizes(item.field_id, infos)
    sized = next(iter(infos.values()), None)
    typed = next((infos[c] for c in item.measure if c in infos), sized)
    sizes = {name: size for name, i in infos.items() if (size := i.calibration.pixel_size_um)}
    if len({round(size, 6) for size in sizes.values()}) > 1 and settings.pixel_size is None:
        listed = ", ".join(f"{size:g} um in {name}" for name, size in sizes.items())
        problems.append(
            f"{item.field_id}: its images have different pixel sizes (got {listed}, expected one). Give the right one with --pixel-size."
        )
    size_um = settings.pixel_size or next((s for i in infos.values() if (s := i.calibration.pixel_size_um)), None)
    return replace(
        item,
        mask=mask,
        problems=tuple(dict.fromkeys(problems)),
        height_px=sized.height if sized else 0,
        width_px=sized.width if sized else 0,
        dtype=typed.dtype if typed else "",
        pixel_size_um=size_um,
    )


def _unlike_sizes(field_id: str, infos: dict[str, ImageInfo]) -> list[str]:
    problems: list[str] = []
    if not infos:
        return problems
    (first, base), *others = infos.items()
    for name, info in others:
        if (info.height, info.width) == (base.height, base.width):
            continue
        text = f"{field_id}: {first} and {name} differ in size (got {base.height} x {base.width} and {info.height} x {info.width} px, expected the same)."
        larger, smaller = sorted(((base.height, base.width), (info.height, info.width)), reverse=True)
        factor = larger[0] / smaller[0]
        if factor == larger[1] / smaller[1] and factor == int(factor):
            text += f" The factor is {int(factor)}: one was binned. Export both without binning."
        else:
            text += " Export both at the camera's full size, without cropping."
        problems.append(text)
    return problems


def _mixtures(fields: Sequence[Field], plan: Plan) -> list[str]:
    warnings = []
    for channel in plan.measure_channels:
        depths: dict[str, list[str]] = defaultdict(list)
        for f in fields:
            if channel in f.measure:
                try:
                    depths[inspect(f.measure[channel].path).dtype].append(f.field_id)
                except InputError:
                    continue
        if len(depths) > 1:
            listed = ", ".join(f"{name} in {len(ids)} (e.g. {ids[0]})" for name, ids in depths.items())
            warnings.append(
                f"mixed bit depth in {channel}: {listed}; grey levels of different depths cannot be compared"
            )
    sizes = Counter(None if f.pixel_size_um is None else round(f.pixel_size_um, 6) for f in fields if not f.problems)
    if len(sizes) > 1:
        listed = ", ".join(f"{'none' if size is None else f'{size:g} um'} in {n} fields" for size, n in sizes.items())
        warnings.append(f"mixed pixel size: {listed}; areas in px cannot be compared")
    for f in fields:
        for file in (f.segment, *f.measure.values(), f.count):
            if file:
                try:
                    warnings += [f"{file.path.name}: {notice}" for notice in inspect(file.path).notices]
                except InputError:
                    continue
    if any(f.replicate for f in fields) and not all(f.replicate for f in fields):
        warnings.append("some fields name a replicate and some do not")
    return list(dict.fromkeys(warnings))
