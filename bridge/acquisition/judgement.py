"""Which fields the acquisition checks mark: each number against a stated limit, or against the other fields."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bridge.acquisition.image_numbers import ImageNumbers
from bridge.tables import KEYS, Column, typed_table

if TYPE_CHECKING:
    import pandas as pd

CHECKS = (
    *KEYS,
    Column("channel", "str", "", "channel of the image"),
    Column("check", "str", "", "what was looked at"),
    Column("value", "float64", "", "what was found"),
    Column("limit", "float64", "", "beyond it the field is flagged; empty where a word decides"),
    Column("flagged", "bool", "", "whether it is worth a look before any conclusion"),
    Column("meaning", "str", "", "in words"),
)
SATURATED_SHARE, BLACK_SHARE, EMPTY_LEVELS = 0.001, 0.05, 0.1
ROBUST_Z, FEWEST_FIELDS = 3.5, 5
FOCUS_PART, GROUND_PART = 0.3, 0.15  # smaller deviations from the median are no outliers, however alike the others are
SHADING, FEWEST_FOR_SHADING = 1.3, 20
SHIFT_PX, SHIFT_EFFECT = 1.5, 0.05


@dataclass(frozen=True)
class Checked:
    """What is known of one field.

    Attributes
    ----------
    field_id, condition, replicate, sample : str
    channels : dict of str to ImageNumbers
    shift : dict of str to (float, float, float)
        By channel: px to the right, px downwards, and by which part the mean in the cells would change.
    settings : dict of str to dict of str to str
        By channel: exposure and the like, as the file says.
    objects_px : float or None
        95th percentile of the extent of what is measured.
    objects : str
        What that is: ``cells`` or ``nuclei``; empty where no cells are known.
    """

    field_id: str
    condition: str
    replicate: str
    sample: str
    channels: Mapping[str, ImageNumbers]
    shift: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    objects_px: float | None = None
    objects: str = "cells"


class Judged(NamedTuple):
    """The table, a sentence for each kind of flag, and the flags of each field."""

    table: pd.DataFrame
    warnings: list[str]
    flags: dict[str, list[str]]


class _Row(NamedTuple):
    item: Checked | None
    channel: str
    check: str
    value: float | None
    limit: float | None
    flagged: bool
    meaning: str


def judge(
    fields: Sequence[Checked],
    measured: Sequence[str],
    rolling_ball: float | None = None,
    same_pixels: Iterable[tuple[str, str, str]] = (),
) -> Judged:
    """Return what the acquisition checks say.

    Parameters
    ----------
    fields : sequence of Checked
    measured : sequence of str
        Channels whose grey levels are measured; saturation, black and the ground are looked at in them alone.
    rolling_ball : float or None
        Its radius, px.
    same_pixels : iterable of (str, str, str)
        Field, channel and a sentence, where an image has the pixels of another one.
    """
    channels = list(dict.fromkeys(channel for item in fields for channel in item.channels))
    rows: list[_Row] = []
    for channel in channels:
        own = [item for item in fields if channel in item.channels]
        if channel in measured:
            rows += _levels(own, channel)
            rows += _outliers(own, channel, "ground", lambda n: n["ground"], GROUND_PART, lambda _: "", "raw grey level outside the cells")  # fmt: skip
            rows += _shading(own, channel)
        rows += _outliers(own, channel, "focus", lambda n: n["focus"], FOCUS_PART, lambda i: i.condition, "focus (Vollath F4 / mean^2)")  # fmt: skip
        rows += _odd_ones(own, channel)
    for item in fields:
        rows += [_shifted(item, channel, *found) for channel, found in item.shift.items()]
        if rolling_ball is not None and item.objects_px and measured:
            rows.append(_ball(item, rolling_ball, item.objects_px))
    known = {item.field_id: item for item in fields}
    rows += [_Row(known[name], channel, "copy", None, None, True, text) for name, channel, text in same_pixels]
    flags: dict[str, list[str]] = {}
    for row in rows:
        if row.flagged and row.item is not None:
            flags.setdefault(row.item.field_id, []).append(row.check)
    table = [
        {
            **({c.name: getattr(row.item, c.name) for c in KEYS} if row.item else dict.fromkeys((c.name for c in KEYS), "")),
            **{name: getattr(row, name) for name in _Row._fields[1:]},
        }
        for row in rows
    ]  # fmt: skip
    return Judged(
        typed_table(table, CHECKS), _warnings(rows, fields), {k: list(dict.fromkeys(v)) for k, v in flags.items()}
    )


def _levels(fields: Sequence[Checked], channel: str) -> Iterable[_Row]:
    eight_bit = [item for item in fields if item.channels[channel]["dtype"] == "uint8"]
    stretched = len(eight_bit) > 1 and all(
        (item.channels[channel]["low"], item.channels[channel]["high"]) == (0, 255) for item in eight_bit
    )
    for item in fields:
        n = item.channels[channel]
        full, share = n["full_level"], n["full_share"]
        where, whose = ("in the cells ", "their") if item.objects else ("", "the")
        text = "not saturated"
        if full is not None:
            text = f"saturated {where}({share:.1%} of {whose} pixels at grey level {full:g}); their means are too low"
        yield _Row(item, channel, "saturated", share, SATURATED_SHARE, share >= SATURATED_SHARE, text)
        black = n["black_share"]
        yield _Row(
            item, channel, "black", black, BLACK_SHARE, black >= BLACK_SHARE,
            f"{black:.1%} of the pixels are at grey level 0"
            + (": what lies below was cut off, or the background was subtracted before" if black >= BLACK_SHARE else ""),
        )  # fmt: skip
        empty = n["empty_levels"]
        if empty is None:
            continue
        comb = empty > EMPTY_LEVELS and n["high"] - n["low"] > 100
        yield _Row(
            item, channel, "autoscaled", empty, EMPTY_LEVELS, comb or stretched,
            "8 bits from 0 to 255 in every field: each field was probably stretched on its own when it was exported, so that fields cannot be compared; export the camera's own grey levels"
            if stretched else f"{empty:.0%} of the 8-bit grey levels are empty: the image was stretched",
        )  # fmt: skip


def _outliers(
    fields: Sequence[Checked],
    channel: str,
    check: str,
    value: Callable[[ImageNumbers], float | None],
    part: float,
    group: Callable[[Checked], str],
    words: str,
) -> Iterable[_Row]:
    """Robust z (Iglewicz and Hoaglin 1993: 0.6745 (x - median) / MAD beyond 3.5) within a group of fields."""
    groups: dict[str, list[tuple[Checked, float]]] = {}
    for item in fields:
        if (number := value(item.channels[channel])) is not None:
            groups.setdefault(group(item), []).append((item, number))
    for name, found in groups.items():
        middle = statistics.median(number for _, number in found)
        spread = statistics.median(abs(number - middle) for _, number in found) / 0.6745
        allowed = max(ROBUST_Z * spread, part * abs(middle))
        for item, number in found:
            far = len(found) >= FEWEST_FIELDS and abs(number - middle) > allowed
            limit = middle + allowed if number >= middle else middle - allowed
            yield _Row(
                item, channel, check, number, limit, far,
                f"{words} {number:.4g}, median of {'the fields of ' + name if name else 'all fields'} {middle:.4g}",
            )  # fmt: skip


def _shading(fields: Sequence[Checked], channel: str) -> Iterable[_Row]:
    blocks = [shading for item in fields if len(shading := item.channels[channel]["shading"])]
    if len(blocks) < FEWEST_FOR_SHADING:
        return
    middle = np.median(np.array(blocks), axis=0)
    low, high = float(middle.min()), float(middle.max())
    ratio = high / low if low > 0 else float("inf")
    yield _Row(
        None, channel, "illumination", ratio, SHADING, ratio > SHADING,
        f"brightest to darkest place over {len(blocks)} fields: {ratio:.2f} times; cellpose-fiji flat-field estimates a flat field for --flat-field",
    )  # fmt: skip


def _odd_ones(fields: Sequence[Checked], channel: str) -> Iterable[_Row]:
    """What should be the same in all fields of a channel."""
    known: dict[str, dict[str, str]] = {
        item.field_id: {"type": item.channels[channel]["dtype"], **item.settings.get(channel, {})} for item in fields
    }
    for name in dict.fromkeys(name for values in known.values() for name in values):
        values = {item.field_id: known[item.field_id].get(name, "not stated") for item in fields}
        common, n = Counter(values.values()).most_common(1)[0]
        if n == len(fields):
            continue
        for item in fields:
            if values[item.field_id] != common:
                text = f"{name} {values[item.field_id]}, {common} in most fields: their grey levels cannot be compared"
                yield _Row(item, channel, f"other {name}", None, None, True, text)


def _shifted(item: Checked, channel: str, x: float, y: float, effect: float) -> _Row:
    px = (x**2 + y**2) ** 0.5
    return _Row(
        item, channel, "shift", px, SHIFT_PX, px > SHIFT_PX and abs(effect) > SHIFT_EFFECT,
        f"lies ({-x:.1f}, {-y:.1f}) px from the image in which the cells were found; moved by --shift {channel}={round(x)},{round(y)} the mean in the cells would change by {effect:+.1%}",
    )  # fmt: skip


def _ball(item: Checked, radius: float, extent: float) -> _Row:
    too_small = (
        f"the rolling ball (radius {radius:g} px) is smaller than the largest {item.objects} (95th percentile of their extent: {extent:.0f} px), "
        f"so part of their own signal is subtracted; give --rolling-ball {round(extent * 1.5, -1):.0f}, or see with cellpose-fiji robustness whether a larger one changes anything"
    )
    fits = f"radius {radius:g} px, 95th percentile of the extent of {item.objects} {extent:.0f} px"
    flagged = extent > radius
    return _Row(item, "", "rolling ball", extent, radius, flagged, too_small if flagged else fits)


def _warnings(rows: Sequence[_Row], fields: Sequence[Checked]) -> list[str]:
    found: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        if row.flagged:
            found.setdefault((row.channel, row.check), []).append(row)
    texts: list[str] = []
    for (channel, check), flagged in found.items():
        worst = max(flagged, key=lambda row: abs((row.value or 0) - (row.limit or 0)))
        if check == "copy":
            texts += dict.fromkeys(row.meaning for row in flagged)
            continue
        where = f" ({worst.item.field_id})" if worst.item else ""
        total = sum(channel in item.channels for item in fields) if channel else len(fields)
        head = f"{len(flagged)} of {total} fields: " if worst.item else ""
        texts.append(f"{head}{channel + ': ' if channel else ''}{worst.meaning}{where}")
    return texts
