"""What the user should know about the numbers of a run: said once for all fields."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bridge.imagej.maven import IMAGEJ_VERSION
from bridge.pipeline.graph import EXPERIMENT
from bridge.pipeline.prepared import flat_field_of
from bridge.pipeline.seen import SEEN

if TYPE_CHECKING:
    from bridge.experiment.fields import Field
    from bridge.pipeline.records import Records
    from bridge.pipeline.step import Context

_DIAMETERS = 1.5  # times the median of all fields
_DROPPED_SHARE, _FEWEST_DROPPED, _FEWEST_UNLIKE = 0.3, 5, 10
_NOTING = ("segment", "count", "measure", "classes")  # steps that note warnings of their own


def warnings_of(context: Context, records: Records, finished: Sequence[Field]) -> list[str]:
    """Return the warnings about the finished fields, from their records."""
    facts = {item.field_id: records.facts(item.field_id, "measure") or {} for item in finished}
    return [
        *_many_dropped(records, finished),
        *_odd_diameters(context, records, finished),
        *_unlike_counts(context, records, finished),
        *_calibrated(context, facts),
        *_prepared(context),
        *_unwitnessed(context, facts),
        *_differences(facts),
        *_old_corrections(context, records, finished),
        *_noted(records, finished),
        *_left_behind(context),
    ]


def diameters(context: Context, records: Records, finished: Sequence[Field]) -> str:
    """Say which diameters were found, with --diameter auto or style; empty otherwise."""
    if context.settings.diameter not in ("auto", "style"):
        return ""
    of = _diameters(records, finished, "segment")
    if not of:
        return ""
    least, most = min(of, key=lambda name: of[name]), max(of, key=lambda name: of[name])
    return f"Diameter: median {statistics.median(of.values()):.3g} px, {of[least]:.3g} ({least}) to {of[most]:.3g} ({most}); each in counts.csv"


def _diameters(records: Records, finished: Sequence[Field], step: str) -> dict[str, float]:
    found = {item.field_id: (records.facts(item.field_id, step) or {}).get("diameter_px") for item in finished}
    return {name: float(value) for name, value in found.items() if value}


def _odd_diameters(context: Context, records: Records, finished: Sequence[Field]) -> list[str]:
    if context.settings.diameter not in ("auto", "style"):
        return []
    warnings = []
    of, of_nuclei = _diameters(records, finished, "segment"), _diameters(records, finished, "count")
    middle = statistics.median(of.values()) if of else 0.0
    odd = [name for name, value in of.items() if not middle / _DIAMETERS < value < middle * _DIAMETERS]
    if odd:
        warnings.append(
            f"{len(odd)} of {len(of)} fields: the diameter found is far from that of the others ({of[odd[0]]:.3g} px in {odd[0]}, median "
            f"{middle:.3g} px); look at their overlays, or give --diameter in px"
        )
    small = [name for name in of if name in of_nuclei and of[name] < of_nuclei[name]]
    if small:
        warnings.append(
            f"{len(small)} of {len(of)} fields: the cells' diameter is smaller than that of the nuclei ({of[small[0]]:.3g} and "
            f"{of_nuclei[small[0]]:.3g} px in {small[0]}); speckles may have been taken for cells: give --diameter in px"
        )
    return warnings


def _many_dropped(records: Records, finished: Sequence[Field]) -> list[str]:
    shares = {}
    for item in finished:
        facts = records.facts(item.field_id, "segment") or {}
        dropped, kept = facts.get("dropped", {}).get("flow", 0), facts.get("n_cells", 0)
        if dropped >= _FEWEST_DROPPED and dropped > _DROPPED_SHARE * (dropped + kept):
            shares[item.field_id] = (dropped, dropped + kept)
    if not shares:
        return []
    name, (dropped, n) = max(shares.items(), key=lambda entry: entry[1][0] / entry[1][1])
    return [
        f"{len(shares)} of {len(finished)} fields: the flow threshold drops more than {_DROPPED_SHARE:.0%} of the objects found ({dropped} of {n} in "
        f"{name}); look at their overlays; another --diameter may be right (cellpose-fiji preview), or a higher --flow-threshold"
    ]


def _unlike_counts(context: Context, records: Records, finished: Sequence[Field]) -> list[str]:
    if not context.plan.count_channel:
        return []
    unlike = {}
    for item in finished:
        cells = (records.facts(item.field_id, "measure") or {}).get("n_cells")
        nuclei = (records.facts(item.field_id, "count") or {}).get("n_nuclei")
        if cells is None or nuclei is None or abs(cells - nuclei) <= _FEWEST_UNLIKE:
            continue
        if not 0.5 < (cells + 1) / (nuclei + 1) < 2:
            unlike[item.field_id] = (cells, nuclei)
    if not unlike:
        return []
    name, (cells, nuclei) = next(iter(unlike.items()))
    return [
        f"{len(unlike)} of {len(finished)} fields: cells and nuclei differ more than twofold ({cells} cells, {nuclei} nuclei in {name}); "
        "one of the two was not found well: look at the overlays"
    ]


def _calibrated(context: Context, facts: dict[str, dict[str, Any]]) -> list[str]:
    warnings = []
    for channel in context.plan.measure_channels:
        units = {name: f["value_unit"][channel] for name, f in facts.items() if channel in f.get("value_unit", {})}
        if units:
            warnings.append(
                f"{len(units)} of {len(facts)} fields: the grey levels of {channel} are calibrated (Analyze > Calibrate); its numbers are "
                f"in {' and '.join(dict.fromkeys(units.values()))}, as ImageJ's"
            )
    return warnings


def _prepared(context: Context) -> list[str]:
    s, channels = context.settings, context.plan.measured_channels
    light = [
        f"{c}: its images are divided by the flat field {path.name} before the background is subtracted"
        for c in channels
        if (path := flat_field_of(s, c)) is not None
    ]
    moved = [f"{c}: its images are moved by {x} px to the right and {y} px downwards" for c, (x, y) in s.shifts.items()]
    return [*light, *moved]


def _unwitnessed(context: Context, facts: dict[str, dict[str, Any]]) -> list[str]:
    warnings = []
    for channel in context.plan.measure_channels:
        names = [name for name, f in facts.items() if channel in f.get("unwitnessed", {})]
        if names:
            why = facts[names[0]]["unwitnessed"][channel]
            warnings.append(
                f"{len(names)} of {len(facts)} fields: {channel} was read by this program alone (e.g. {names[0]}): {why}"
            )
    return warnings


def _differences(facts: dict[str, dict[str, Any]]) -> list[str]:
    return [
        f"{name}: {channel}: this Fiji's ImageJ ({f['imagej'].get('imagej')}) and the native engine (ImageJ {IMAGEJ_VERSION}) "
        f"differ ({found[0]}); this Fiji's numbers are kept, the differences are in records/{name}/measure.json"
        for name, f in facts.items()
        for channel, found in f.get("differences", {}).items()
    ]


def _old_corrections(context: Context, records: Records, finished: Sequence[Field]) -> list[str]:
    step = "filter" if context.settings.filters_cells else "segment"
    name = [
        item.field_id
        for item in finished
        if records.facts(item.field_id, "corrected") is not None
        and (drawn_on := records.made_from(item.field_id, "correct").get("mask"))
        and drawn_on not in records.outputs(item.field_id, step).values()
    ]
    if not name:
        return []
    return [
        f"{len(name)} of {len(finished)} fields were corrected by hand before their cells were found anew (e.g. {name[0]}); the corrected cells "
        "stand: correct them again, or take them back with: cellpose-fiji correct --undo"
    ]


def _noted(records: Records, finished: Sequence[Field]) -> list[str]:
    return [
        f"{item.field_id}: {warning}"
        for step in _NOTING
        for item in finished
        for warning in (records.facts(item.field_id, step) or {}).get("warnings", [])
    ]


def _left_behind(context: Context) -> list[str]:
    known = {item.field_id for item in context.plan.fields} | {EXPERIMENT, SEEN, *context.plan.excluded}
    records = context.folder.records("")
    gone = sorted(p.name for p in records.iterdir() if p.name not in known) if records.is_dir() else []
    if not gone:
        return []
    return [
        f"files of {len(gone)} fields that are no longer in the plan are still there (e.g. {gone[0]}); they are in no table"
    ]
