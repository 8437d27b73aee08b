"""Fields that a person leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bridge.errors import InputError
from bridge.experiment.fields import Plan
from bridge.names import number


def without(plan: Plan, names: Sequence[str]) -> Plan:
    """Return a plan without some of its fields; it names them.

    Parameters
    ----------
    plan : Plan
    names : sequence of str
        Each a `field_id`, or a text file with one in each line (of a table the first column counts).

    Raises
    ------
    InputError
        There is no such field.
    """
    known = [item.field_id for item in plan.fields]
    excluded: list[str] = []
    for name in names:
        listed = [name] if name in known or not Path(name).is_file() else _listed(Path(name))
        for field_id in listed:
            if field_id not in known:
                where = "" if field_id == name else f"{name}: "
                raise InputError(
                    f"--exclude {where}{field_id}: no such field (expected one of the column field_id of fields.csv). Look at: cellpose-fiji plan"
                )
            excluded.append(field_id)
    if not excluded:
        return plan
    excluded = list(dict.fromkeys(excluded))
    kept = tuple(item for item in plan.fields if item.field_id not in excluded)
    if not kept:
        raise InputError(f"--exclude: every field (got {len(excluded)}, expected fewer). Nothing would be left.")
    text = f"{number(len(excluded), 'field')} excluded (--exclude): {', '.join(excluded)}"
    return replace(plan, fields=kept, excluded=tuple(excluded), warnings=(*plan.warnings, text))


def _listed(path: Path) -> list[str]:
    lines = path.read_text("utf-8-sig", errors="replace").splitlines()
    names = [line.replace("\t", ",").replace(";", ",").split(",")[0].strip().strip('"') for line in lines]
    return [name for name in names if name and name != "field_id"]
