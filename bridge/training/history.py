"""The trainings of one model, cycle by cycle: their records, and `cycles.csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bridge.errors import OutputError
from bridge.evaluation.sweep import SCORES
from bridge.foreign import read_json
from bridge.names import TRAINING_RECORD
from bridge.tables import empty_table, read_table, typed_table, write_table
from bridge.training.tables import CYCLES


def cycle_folder(cycle: int) -> str:
    """Return the name of the folder of a cycle."""
    return f"cycle_{cycle}"


def earlier_cycles(out: Path) -> list[dict[str, Any]]:
    """Return the records of the trainings in a folder, in their order.

    Raises
    ------
    OutputError
        One cannot be read.
    """
    cycles: list[dict[str, Any]] = []
    while (path := out / cycle_folder(len(cycles) + 1) / TRAINING_RECORD).is_file():
        try:
            record = read_json(path)
            _ = record["state"], record["made_from"], record["held_out_pixels"], record["base"]
            record.setdefault("warnings", record.get("notes", []))  # their name before 0.1.0
            cycles.append(record)
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{path}: not the record of a training ({type(error).__name__}: {error}). Delete the folder {path.parent}.") from error  # fmt: skip
    return cycles


def write_cycles(
    out: Path, record: Mapping[str, Any], learnt_from: Sequence[str], n_held_out: int, sets: pd.DataFrame
) -> None:
    """Write the row of a training into `cycles.csv`."""
    cycle = record["cycle"]
    path = out / "cycles.csv"
    before = read_table(path, CYCLES) if path.exists() else empty_table(CYCLES)
    row: dict[str, Any] = {
        "cycle": cycle, "model": f"{cycle_folder(cycle)}/{record['model']}", "base": record["base"],
        "n_images": len(learnt_from), "n_cells": sum(record["n_cells"][name] for name in learnt_from),
        "model_sha256": record["model_sha256"], "n_held_out": n_held_out,
    }  # fmt: skip
    held_out = sets[sets["set"] == "held-out"]
    for key in (f"{name}_{which}" for name in SCORES for which in ("base", "tuned", "difference")):
        row[f"held_out_{key}"] = held_out[key].iloc[0] if len(held_out) else float("nan")
    rows: list[dict[Any, Any]] = [*before[before["cycle"] != cycle].to_dict("records"), row]
    write_table(path, typed_table(rows, CYCLES), CYCLES)
