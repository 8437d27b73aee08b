"""Which channel plays which role, and the fields that follow."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from natsort import natsorted

from bridge.errors import InputError
from bridge.experiment.channel_words import role_of_word, same
from bridge.experiment.discover import NamedFile
from bridge.experiment.fields import NONE, Field, Plan, root_of
from bridge.experiment.opened import Opened
from bridge.images.reader import channel_index, channels_meant, scenes
from bridge.measurements import WORDS
from bridge.names import LONGEST_NAME, number, safe_name
from bridge.settings import Settings
from bridge.source import ChannelFile
from bridge.tables import cell_columns


def assign_channels(
    images: Path, found: list[NamedFile], ignored: list[tuple[Path, str]], settings: Settings, layout: str = ""
) -> Plan:
    """Return the plan: which file is which channel of which field.

    Parameters
    ----------
    images : Path
    found : list of NamedFile
    ignored : list of (Path, str)
        Is added to.
    settings : Settings
    layout : str
        How an instrument named the files: its channels are numbers, whose meaning nobody can know.

    Raises
    ------
    InputError
        Channels that cannot be told apart, or names that collide.
    """
    for item in found:
        _number_frame(item)
    ids = _field_ids(images, found)
    # Channels by file name, or inside a file; the first spelling is the name.
    files: dict[str, dict[str, list[ChannelFile]]] = defaultdict(lambda: defaultdict(list))
    spelling: dict[str, str] = {}
    broken: dict[str, str] = {}
    wanted = [name for name in (settings.segment, *settings.segment_with, *settings.measure, settings.count) if name]
    numbers = {same(name): name for name in wanted if name.removeprefix("#").isdecimal()}
    places: dict[str, dict[int, Path]] = defaultdict(dict)  # name -> position in a file -> such a file
    asked: set[int] = set()
    for item in found:
        entry = files[ids[item.key]]
        if item.channel is None:
            try:
                info = scenes(item.path)[item.image.scene or 0]
            except InputError as error:
                broken[ids[item.key]] = str(error)
                continue
            several = len(info.channels) > 1
            for number in numbers if several else ():
                if not channels_meant(info, numbers[number]):
                    continue
                index = channel_index(info, numbers[number])
                # A number means that channel of each file, whatever the file calls it.
                spelling.setdefault(number, number)
                entry[number].append(item.image.file(numbers[number], settings.z))
                asked.add(index + 1)
            for position, name in enumerate(info.channels, 1):
                if several:
                    places[name].setdefault(position, item.path)
                if same(name) not in numbers or not several:
                    spelling.setdefault(same(name), name)
                    entry[same(name)].append(item.image.file(name if several else None, settings.z))
        else:
            spelling.setdefault(same(item.channel), item.channel)
            entry[same(item.channel)].append(item.image.file(None, settings.z))
    _require_one_order(images, places, asked)
    if broken and not spelling:
        more = f" So are {len(broken) - 1} more." if len(broken) > 1 else ""
        raise InputError(f"{next(iter(broken.values()))}{more}")
    if layout:
        _require_meaning(images, found, spelling, settings)
    segment, measure, count = _roles(images, spelling, settings)
    beside = _beside(images, spelling, settings, segment)
    playing = {name for name in (segment, *beside, *measure, count) if name}
    factors = {ids[item.key]: item.factors for item in found}
    fields: list[Field] = []
    for field_id, channels in files.items():
        if not playing & set(channels) and field_id not in broken:
            continue
        problems: list[str] = [broken[field_id]] if field_id in broken else []
        for role in dict.fromkeys((segment, *beside, *measure, count)):
            doubles = channels.get(role, []) if role else []
            if role and len(doubles) > 1:
                problems.append(
                    f"{field_id}: two {spelling[role]} images (got {doubles[0].path.name} and {doubles[1].path.name}, "
                    "expected one). Remove or rename one."
                )

        def one(name: str | None, channels: dict[str, list[ChannelFile]] = channels) -> ChannelFile | None:
            return channels[name][0] if name and channels.get(name) else None

        others = [one(name) for name in beside]
        for name, other in zip(beside, others, strict=True):
            if other is None and one(segment) is not None:
                problems.append(
                    f"{field_id}: no {spelling[name]} image (expected one beside the others). Add it, take the field out, or leave {spelling[name]} out of --segment-with."
                )
        given = factors[field_id]
        sample = given.get("sample") or given.get("well") or ""
        fields.append(
            Field(
                field_id,
                condition=given.get("condition") or "all",
                replicate=given.get("replicate") or "",
                sample=sample,
                cell_type=given.get("cell_type") or "",
                series_id=safe_name(given["series"]).replace("/", "_") if given.get("series") else "",
                frame=int(given["frame"]) if given.get("frame") else None,
                segment=replace(cells, also=_all_of(others)) if (cells := one(segment)) else None,
                measure={spelling[name]: file for name in measure if (file := one(name))},
                count=one(count),
                problems=tuple(problems),
            )
        )

    def place(file: ChannelFile | Opened) -> tuple[Path, int | None, int | None]:
        return file.path, file.scene, file.frame

    used = {place(file) for f in fields for file in f.files}
    taken = used | {place(file) for f in files.values() for name in playing for file in f.get(name, [])}
    for item in found:
        if place(item.image) not in taken and ids[item.key] not in broken:
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
        layout=layout,
        warnings=tuple(_shortened(ids)),
        segment_with=tuple(spelling[name] for name in beside),
    )


def _all_of(files: list[ChannelFile | None]) -> tuple[ChannelFile, ...]:
    """All, or none where one is missing: they are told apart by their order."""
    return tuple(file for file in files if file) if all(files) else ()


def _beside(images: Path, spelling: dict[str, str], settings: Settings, segment: str | None) -> list[str]:
    """Return the channels that the network sees beside the one with the cells."""
    for name in settings.segment_with:
        if same(name) not in spelling:
            raise InputError(f"{images}: no channel {name} (got {', '.join(spelling.values()) or 'none'}). Correct --segment-with.")  # fmt: skip
        if same(name) == segment:
            raise InputError(f"--segment-with {name}: the channel in which the cells are found (expected another one beside it). Leave it out.")  # fmt: skip
    return list(dict.fromkeys(same(name) for name in settings.segment_with))


def _require_meaning(images: Path, found: list[NamedFile], spelling: dict[str, str], settings: Settings) -> None:
    """Say all that must be typed at once, where the channels are numbers."""
    segment = settings.segment or next((n for n in spelling.values() if role_of_word(n) == "segment"), None)
    if (segment or settings.masks) and settings.measure:
        return
    files = Counter(same(item.channel) for item in found if item.channel)
    listed = ", ".join(f"{name} in {number(files[key], 'file')}" for key, name in spelling.items())
    free = [name for name in spelling.values() if name not in (segment, *settings.measure, settings.count)]
    count = settings.count or next((n for n in free if role_of_word(n) == "count"), None)
    free = [name for name in free if name != count]
    measure = settings.measure[0] if settings.measure else next((n for n in free if role_of_word(n) == "measure"), None)
    free = [name for name in free if name != measure]
    if measure is not None and segment is not None:
        return
    segment = segment or (free.pop(0) if free else count)
    measure = measure or (free.pop(0) if free else "none")
    count = count or (free.pop(0) if free else None)
    parts = (("--segment", segment), ("--measure", measure), ("--count", count))
    flags = " ".join(f"{flag} {shlex.quote(name)}" for flag, name in parts if name)
    raise InputError(f"{images}: channels whose part nobody can know (got {listed}). Say it, for instance: {flags}")


def _number_frame(item: NamedFile) -> None:
    """A frame of a file is a field of its own; all of a file are a series."""
    frame = item.image.frame
    if frame is None:
        return
    item.factors = {**item.factors, "series": item.key, "frame": str(frame + 1)}
    item.key += f"_t{frame + 1:0{len(str(item.image.n_frames))}d}"


def _shortened(ids: dict[str, str]) -> Iterator[str]:
    """Say which names are too long for the files of results."""
    long = [(key, field_id) for key, field_id in ids.items() if len(key.encode(errors="replace")) > LONGEST_NAME]
    if long:
        key, field_id = long[0]
        yield f"{number(len(long), 'field')} with a name too long for files (got {len(key)} letters, e.g. {key[:60]}...): called {field_id}, ..."


def _require_one_order(images: Path, places: dict[str, dict[int, Path]], asked: set[int]) -> None:
    """A number must not mean one channel in one file and another in the next; names that occur once tell nothing."""
    for name, paths in places.items():
        if len(paths) > 1 and asked & set(paths) and not name.isdecimal():
            (one, path), (other, path2) = sorted(paths.items())[:2]
            raise InputError(
                f"{images}: the channels are not in one order (got {name} as channel {one} of {path.relative_to(root_of(images))} and as channel {other} of "
                f"{path2.relative_to(root_of(images))}). Give the channels' names instead of numbers."
            )


def _roles(images: Path, spelling: dict[str, str], settings: Settings) -> tuple[str | None, list[str], str | None]:
    def named(wanted: str, flag: str) -> str:
        if same(wanted) in spelling:
            return same(wanted)
        raise InputError(
            f"{images}: no channel {wanted} (got {', '.join(spelling.values()) or 'none'}). Correct --{flag}."
        )

    by_role: dict[str, list[str]] = defaultdict(list)
    for key, name in spelling.items():
        role = role_of_word(name)
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
        others = [name for key, name in spelling.items() if key not in (segment, count) and not role_of_word(name)]
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
    columns = Counter(c.name for c in cell_columns([spelling[m] for m in measure], WORDS))
    if max(files.values(), default=0) > 1 or max(columns.values()) > 1:
        raise InputError(
            f"{images}: channels that would share files or columns (got {', '.join(spelling[m] for m in measure)}, expected names that differ by more). Rename one."
        )
    return segment, measure, count


def _suggest(spelling: dict[str, str], by_role: dict[str, list[str]], measure: list[str]) -> str:
    candidates = [*by_role["count"], *(key for key in spelling if key not in measure and key not in by_role["measure"])]
    return spelling[candidates[0]] if candidates else next(iter(spelling.values()))


def _field_ids(images: Path, found: Sequence[NamedFile]) -> dict[str, str]:
    ids = {item.key: safe_name(item.key.replace("/", "_") or item.path.parent.name) for item in found}
    taken: dict[str, str] = {}
    for key, field_id in ids.items():
        other = taken.setdefault(field_id.lower(), key)
        if other != key:
            raise InputError(
                f"{images}: two fields get the same name {field_id} (got {other} and {key}, expected names that differ by more than case or punctuation). Rename one."
            )
    return ids
