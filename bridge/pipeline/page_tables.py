"""The tables and lists of the page, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bridge.names import number
from bridge.pipeline.extra_sheets import setting_texts
from bridge.pipeline.finished_run import FinishedRun
from bridge.settings import Settings
from bridge.tables import CORRECTIONS, read_table, read_whole_table

_MOST_ROWS, _MOST_LINES = 2_000, 500


def tables_of(run: FinishedRun, shares: pd.DataFrame, counts: pd.DataFrame) -> dict[str, Any]:
    """Return the tables of shares, replicates and fields."""
    nuclei = ["n_nuclei"] if run.plan.count_channel else []
    names = {"n_cells": "cells", "n_nuclei": "nuclei", "n_fields": "fields"}
    replicates = read_whole_table(run.out / "replicates.csv")
    means = [c for c in map(str, replicates.columns) if c.endswith(("_Mean_mean", "_area_um2_mean"))]
    keys = ["condition", "replicate"]
    replicates = _with_share(replicates, shares, "replicate", keys)
    fields = _with_share(counts, shares, "field", ["field_id"])
    share = [c for c in map(str, fields.columns) if c.startswith("positive (%)")]
    return {
        "answer_tables": [_table("Share of positives by condition", _condition_shares(shares))] if len(shares) else [],
        "tables": [
            _table("Replicates", replicates[[*keys, "n_fields", "n_cells", *nuclei, *share, *means]].rename(columns={**names, **{c: c.removesuffix("_mean").replace("_", " ") + ", mean of cells" for c in means}})),
            _table("Fields", fields[["field_id", *keys, "sample", "n_cells", *nuclei, *share, "flagged"]].rename(columns={**names, "field_id": "field", "flagged": "checks that failed"})),
        ],
    }  # fmt: skip


def _condition_shares(shares: pd.DataFrame) -> pd.DataFrame:
    rows = shares[shares["level"] == "condition"]
    columns = {"condition": "condition", "positive": "positive for", "unit": "of", "n_units": "n", "share": "share (%)", "low": "from (%)", "high": "to (%)", "interval": "interval", "n_replicates": "replicates", "share_sd": "SD (points)"}  # fmt: skip
    return rows[list(columns)].rename(columns=columns)


def _with_share(table: pd.DataFrame, shares: pd.DataFrame, level: str, keys: Sequence[str]) -> pd.DataFrame:
    for positive in dict.fromkeys(shares["positive"]) if len(shares) else ():
        own = shares[(shares["level"] == level) & (shares["positive"] == positive)]
        own = own[[*keys, "share"]].rename(columns={"share": f"positive (%) {positive}"})
        table = table.astype(dict.fromkeys(keys, str)).merge(own.astype(dict.fromkeys(keys, str)), "left", list(keys))
    return table


def _table(title: str, frame: pd.DataFrame) -> dict[str, Any]:
    more = f" (the first {_MOST_ROWS:,} of {len(frame):,}; the files hold all)" if len(frame) > _MOST_ROWS else ""
    shown = frame.head(_MOST_ROWS)
    rows = [[_plain(value) for value in row] for row in shown.itertuples(index=False, name=None)]
    return {"title": title + more, "columns": [str(c) for c in shown.columns], "rows": rows}


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


def quality(content: Mapping[str, Any], failures: pd.DataFrame, checks: pd.DataFrame, out: Path) -> dict[str, Any]:
    """Return what weakens the run: warnings, failures, checks, corrections, exclusions."""
    flagged = checks[checks["flagged"]]
    corrected = content.get("corrected_by_hand") or {}
    path = out / "corrections.csv"
    changes = [_table("Corrections", read_table(path, CORRECTIONS))] if corrected and path.is_file() else []
    return {
        "quality": [
            ["Failed", _first(failures["message"].astype(str), "failures.csv"), "Nothing failed."],
            ["Warnings", _first(content.get("warnings", []), "run.json"), "No warning."],
            ["How the images were taken", _first((f"{row['field_id']}, {row['channel'] or 'all channels'}: {row['meaning']}" for row in flagged.to_dict("records")), "checks.csv"), "No check failed."],
            ["Corrected by hand", _first((f"{name}: {number(c['changed'], 'cell')} changed or drawn, {c['gone']} gone" for name, c in corrected.items()), "run.json"), "No cell was corrected."],
            ["Left out by a person", _first(map(str, content.get("excluded", [])), "run.json"), "No field was excluded."],
        ],
        "quality_tables": changes,
    }  # fmt: skip


def _first(lines: Iterable[str], file: str) -> list[str]:
    """Return what a page can show of a list, and where the rest is."""
    every = list(lines)
    more = len(every) - _MOST_LINES
    return [*every[:_MOST_LINES], f"and {more} more: {file}"] if more > 0 else every


def about(content: Mapping[str, Any], methods: str, legend: str) -> list[list[str]]:
    """Return the texts for a paper, the settings and the versions."""
    plain, said = setting_texts(Settings().as_json()), setting_texts(content["settings"])
    own = [f"{name.replace('_', '-')}: {value}" for name, value in said.items() if plain.get(name) != value]
    others = [f"{name.replace('_', '-')}: {value}" for name, value in said.items() if plain.get(name) == value != ""]
    imagej = content.get("imagej") or {}
    versions = [f"cellpose-fiji-bridge {content['program']['version']}, Python {content['python']}"]
    versions += [f"{name} {version}" for name, version in content["versions"].items()]
    versions += [f"ImageJ {imagej['imagej']} in Java {imagej['java']}"] if imagej.get("imagej") else []
    return [
        ["Methods", methods],
        ["Figure legend", legend],
        ["Settings that differ from the defaults", "\n".join(own) or "none"],
        ["Other settings", "\n".join(others)],
        ["Versions", "\n".join(versions)],
    ]
