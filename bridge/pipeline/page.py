"""The page of a run, `report.html`, and the texts for a paper: from the results folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bridge.acquisition.judgement import CHECKS
from bridge.assay.comparison import COMPARISONS
from bridge.assay.shares import SHARES
from bridge.experiment.fields import Field
from bridge.files import write_new
from bridge.foreign import read_json
from bridge.images.label_images import read_labels
from bridge.names import number
from bridge.pipeline.assay import GATES, called_columns, positive_channels, unit_of
from bridge.pipeline.cell_classes import class_names
from bridge.pipeline.columns import columns_of
from bridge.pipeline.finished_run import FinishedRun
from bridge.pipeline.methods import legend_text, methods_text
from bridge.pipeline.page_tables import about, quality, tables_of
from bridge.report.field_pictures import ids_png
from bridge.report.page_file import packed, write_page
from bridge.report.style import COLOURS
from bridge.tables import CELL, COUNTS, FAILURES, NUCLEUS, ROWS, Column, measure_column, read_table

_MOST_BYTES = 12_000_000  # of the columns of one kind of object
_MOST_FIELDS = 2_000  # whose pictures are in the page
_NOTHING = "Nothing was compared: there is no control, or no replicate."


def write_report(run: FinishedRun) -> list[Path]:
    """Write ``report.html``, ``methods.txt`` and ``legend.txt`` into the folder of a finished run.

    Parameters
    ----------
    run : FinishedRun

    Returns
    -------
    list of Path

    Raises
    ------
    TableError
        A table of the run is missing.
    OutputError
        A file cannot be written.
    """
    content = read_json(run.folder.run)
    out = run.out
    shares, gates, counts = (read_table(out / f"{name}.csv", columns) for name, columns in (("shares", SHARES), ("gates", GATES), ("counts", COUNTS)))  # fmt: skip
    comparisons = read_table(out / "comparisons.csv", COMPARISONS)
    methods, legend = methods_text(content, shares, gates, comparisons), legend_text(content, shares, counts)
    fields = _fields_with_pictures(run)
    pictures: dict[str, bytes] = {}
    shown = _channels(run, fields)
    own = counts[counts["field_id"].isin([item.field_id for item in fields])].to_dict("records")
    row_of = {row["field_id"]: row for row in own}
    entries = [_field(run, item, k, row_of[item.field_id], shown, pictures) for k, item in enumerate(fields)]
    replicates = list(dict.fromkeys(item.replicate for item in fields))
    units = [_unit(run, what, fields) for what in ([NUCLEUS, CELL] if run.plan.count_channel else [CELL])]
    for entry, item in zip(entries, fields, strict=True):
        entry["condition"] = run.plan.conditions.index(item.condition)
        entry["replicate"] = replicates.index(item.replicate)
    failures = read_table(run.folder.failures, FAILURES)
    checks = read_table(out / "checks.csv", CHECKS)
    left_out = len(run.fields) - len(fields)
    data = {
        "title": _title(content),
        "summary": _summary(run, content, left_out),
        "units": units,
        "bits": _bits(run),
        "conditions": list(run.plan.conditions),
        "replicates": replicates,
        "has_replicates": any(replicates),
        "fields": entries,
        "channels": [{"name": name, "low": low, "high": high} for name, (low, high) in shown.items()],
        "first_channel": _first_channel(run, list(shown)),
        "scale": max((entry["scale"] for entry in entries), default=1),
        "colours": list(COLOURS),
        "classes": list(class_names(run.context)),
        "gates": _gates(gates, replicates),
        "quotes": _quotes(shares, run.plan.conditions),
        "answer": [f"{row.what}: {row.in_words}" for row in comparisons.itertuples()] or [_NOTHING],
        **tables_of(run, shares, counts),
        **quality(content, failures, checks, out),
        "about": about(content, methods, legend),
    }
    write_page(run.folder.page(), data, pictures)
    write_new(out / "methods.txt", methods.encode())
    write_new(out / "legend.txt", legend.encode())
    return [run.folder.page(), out / "methods.txt", out / "legend.txt"]


def _fields_with_pictures(run: FinishedRun) -> list[Field]:
    """Return the finished fields, of very many those that have pictures, or an equal number of each condition."""
    pictured = [item for item in run.fields if run.folder.page_ids(item, CELL).is_file()]
    if 0 < len(pictured) < len(run.fields):
        return pictured[:_MOST_FIELDS]
    if len(run.fields) <= _MOST_FIELDS:
        return list(run.fields)
    each = max(1, _MOST_FIELDS // len(run.plan.conditions))
    own = ([item.field_id for item in run.fields if item.condition == name][:each] for name in run.plan.conditions)
    kept = {field_id for names in own for field_id in names}
    return [item for item in run.fields if item.field_id in kept]


def _channels(run: FinishedRun, fields: Sequence[Field]) -> dict[str, tuple[float, float]]:
    """Return the channels that have pictures and their grey levels, as the pictures were made."""
    found: dict[str, tuple[float, float]] = {}
    for item in fields:
        for name, (low, high) in ((run.records.facts(item.field_id, "pictures") or {}).get("shown") or {}).items():
            found[name] = (float(low), float(high))
    return found


def _field(
    run: FinishedRun,
    item: Field,
    k: int,
    row: Mapping[Any, Any],
    channels: Mapping[str, Any],
    pictures: dict[str, bytes],
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": item.field_id, "sample": item.sample, "n": {CELL: int(row["n_cells"])},
        "scale": int((run.records.facts(item.field_id, "pictures") or {}).get("scale", 1)),
        "flagged": [text for text in str(row["flagged"]).split("; ") if text], "pictures": {}, "ids": {},
    }  # fmt: skip
    if run.plan.count_channel:
        entry["n"][NUCLEUS] = int(row["n_nuclei"])
    for c, name in enumerate(channels):
        path = run.folder.page_channel(item, name)
        if path.is_file():
            entry["pictures"][str(c)] = f"p{k}-{c}"
            pictures[f"p{k}-{c}"] = path.read_bytes()
    for what in (CELL, NUCLEUS):
        path = run.folder.page_ids(item, what)
        if path.is_file():
            entry["ids"][what] = f"i{k}-{what}"
            pictures[f"i{k}-{what}"] = path.read_bytes()
    if run.folder.correction(item).is_file() and run.folder.before_correction(item).is_file():
        entry["ids"]["before"] = f"i{k}-before"
        pictures[f"i{k}-before"] = ids_png(read_labels(run.folder.before_correction(item)), entry["scale"])
    return entry


def _unit(run: FinishedRun, what: str, fields: Sequence[Field]) -> dict[str, Any]:
    """Return the cells or nuclei of these fields, a column for each measure."""
    plural = ROWS[what]
    number_of = {item.field_id: k for k, item in enumerate(fields)}
    table = run.rows(what, fields=number_of)
    declared = [
        c for c in columns_of(run.context, what) if c.dtype in ("float64", "int64", "Int64") and c.name in table
    ]
    declared = [c for c in declared if c.name not in ("label", "cell", f"{what}_x_px", f"{what}_y_px")]
    declared = [c for c in declared if table[c.name].notna().any()] or declared
    first = _first_measure(run, what, [c.name for c in declared])
    if len(declared) * 4 * len(table) > _MOST_BYTES:
        short = [c for c in declared if c.name == first or c.name.endswith(("_Mean", "_area_um2", "_area_px2"))]
        declared = short[: max(1, _MOST_BYTES // (4 * max(1, len(table))))] or declared[:1]
    classes, names = class_names(run.context), {}
    if classes and what == CELL and "class" in table:
        names = {"classes": True, "classes_of": [classes.index(c) if c in classes else len(classes) for c in table["class"].fillna("")]}  # fmt: skip
    return {
        "key": what, "word": what, "plural": plural, "n": len(table), "first": first,
        "field": packed([number_of[name] for name in table["field_id"]], "u32"), "label": packed(table["label"], "u32"),
        "x": packed(table[f"{what}_x_px"], "f32"), "y": packed(table[f"{what}_y_px"], "f32"),
        "bits": packed(_bits_of(run, table), "u8"),
        "columns": [{"key": c.name, "label": _label(c), "values": packed(pd.to_numeric(table[c.name]).astype(float), "f32")} for c in declared],
        **names,
    }  # fmt: skip


def _label(column: Column) -> str:
    """Return a column in plain words, with its unit."""
    unit = {"px2": "px²", "um2": "µm²", "um": "µm"}.get(column.unit, column.unit)
    meaning = column.meaning.partition(";")[0]
    return f"{meaning} ({unit})" if unit else meaning


def _first_measure(run: FinishedRun, what: str, names: Sequence[str]) -> str:
    wanted = [measure_column(c, m, what) for c in run.plan.measure_channels for m in (run.settings.gate_measure, "Mean")]  # fmt: skip
    return next((name for name in wanted if name in names), names[0])


def _bits(run: FinishedRun) -> list[dict[str, Any]]:
    found = [
        {"key": "positive" if k == 0 else f"positive:{channel}", "words": f"{channel}-positive", "always": True}
        for k, channel in enumerate(positive_channels(run.context))
    ]
    found += [
        {"key": "border", "words": "cut by the image's edge", "always": False},
        {"key": "corrected", "words": "corrected by hand", "always": False},
    ]
    return found[:8]


def _bits_of(run: FinishedRun, table: pd.DataFrame) -> Any:
    """Return the yes-or-no columns of each object as one number; what is not known counts as no."""
    names = [*(c.name for c in called_columns(run.context)), "touches_border", "corrected"][:8]
    total = np.zeros(len(table), np.uint8)
    for k, name in enumerate(names):
        if name in table:
            total |= (table[name].astype(str).str.lower() == "true").to_numpy(np.uint8) << np.uint8(k)
    return total


def _gates(gates: pd.DataFrame, replicates: Sequence[str]) -> list[dict[str, Any]]:
    """Return the gates, those that are alike in all replicates as one."""
    rows = gates[gates["value"].notna()]
    found = []
    for (measure, value), part in rows.groupby(["measure", "value"], sort=False):
        everywhere = set(replicates) <= set(part["replicate"])
        for name in ["", *part["replicate"]][:1] if everywhere else part["replicate"]:
            found.append({"measure": measure, "value": float(str(value)), "replicate": -1 if everywhere or name not in replicates else replicates.index(name)})  # fmt: skip
    return found


def _quotes(shares: pd.DataFrame, conditions: Sequence[str]) -> dict[str, str]:
    rows = shares[shares["level"] == "condition"] if len(shares) else shares
    first = rows["positive"].iloc[0] if len(rows) else None
    said = {row["condition"]: row["quote"] for row in rows.to_dict("records") if row["positive"] == first and str(row["quote"])}  # fmt: skip
    return {str(conditions.index(c)): f"{first}+ {quote}" for c, quote in said.items() if c in conditions and isinstance(quote, str)}  # fmt: skip


def _first_channel(run: FinishedRun, names: Sequence[str]) -> int:
    wanted = run.plan.measure_channels[:1]
    return names.index(wanted[0]) if wanted and wanted[0] in names else 0 if names else -1


def _title(content: Mapping[str, Any]) -> str:
    return f"{Path(content['settings']['images']).name or 'Run'}: {', '.join(content['channels']['measure']) or 'cells'} in {number(len(content['conditions']), 'condition')}"


def _summary(run: FinishedRun, content: Mapping[str, Any], left_out: int) -> str:
    done, failed = content["fields"]["done"], content["fields"]["failed"]
    text = f"{number(done, 'field')}, {number(content['cells'], 'cell')}, measured in {ROWS[unit_of(run.context)]} by cellpose-fiji-bridge {content['program']['version']}."
    text += f" {number(failed, 'field')} failed: see below." if failed else ""
    return text + (f" Pictures and dots of {done - left_out} fields are in this page, the first of each condition; the tables hold all." if left_out else "")  # fmt: skip
