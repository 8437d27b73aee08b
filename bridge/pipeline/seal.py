"""What seals a run that is done, beside the files it read and wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from bridge.pipeline.graph import EXPERIMENT, Graph
from bridge.pipeline.records import Records
from bridge.pipeline.run_record import RECORDS, plan_rows, recorded_settings
from bridge.pipeline.step import Context

# What a person puts there changes what a run makes of its fields.
_STATES = ("corrections", "corrections/applied", "classes", "tracks")


def seal_of(context: Context, graph: Graph, free: Collection[str] = ()) -> str:
    """Return one hash of the settings (but those that are free), the code, the models and the plan of a run."""
    plan = context.plan
    settings = recorded_settings(plan.images, context.settings)
    told: dict[str, Any] = {
        "records": RECORDS,
        "settings": {name: value for name, value in settings.items() if name not in free},
        "models": {role: model.sha256 for role, model in context.models.items()},
        "code": {step.name: graph.code(step) for step in graph.steps},
        "fields": plan_rows(plan)[0],
        "conditions": list(plan.conditions),
        "excluded": list(plan.excluded),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def files_without_hash(context: Context, records: Records) -> Iterator[Path]:
    """Return what a finished run is made of, beside its inputs and the outputs of its steps."""
    out = context.folder.out
    yield from (out / name for name in _STATES)
    yield from sorted(path for path in out.iterdir() if path.is_file() and not path.name.startswith("."))
    for name in (EXPERIMENT, *(item.field_id for item in context.plan.fields)):
        yield from sorted(records.folder(name).glob("*.json"))
