"""What seals a run that is done, beside the files it read and wrote."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from bridge.files import signature
from bridge.pipeline.code_hash import code_hash
from bridge.pipeline.graph import EXPERIMENT, Graph
from bridge.pipeline.records import Records
from bridge.pipeline.run_record import RECORDS, plan_rows, recorded_settings
from bridge.pipeline.step import Context
from bridge.setting_options import PATHS
from bridge.settings import Settings

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


def seal_of_tree(images: Path, out: Path, settings: Settings, graph: Graph) -> str:
    """Return one hash of the settings, the code, and all names, sizes and times where a plan is made from: quicker than a plan."""
    told = recorded_settings(images, settings)
    digest = hashlib.sha256(json.dumps([RECORDS, told], sort_keys=True, default=str).encode())
    digest.update(code_hash(["bridge.pipeline.run"]).encode())
    digest.update("".join(graph.code(step) for step in graph.steps).encode())
    skipped = str(out.resolve())
    for root in [told["images"], *(told[name] for name in PATHS)]:
        for name in _below(str(root), skipped) if root else ():
            digest.update(name.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _below(root: str, skipped: str) -> Iterator[str]:
    """What is seen of a file, or of everything below a folder."""
    if os.path.isfile(root):
        yield f"{root} {signature(Path(root))}\n"
    if not os.path.isdir(root):
        return
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                if entry.path != skipped:
                    yield from _below(entry.path, skipped)
            else:
                seen = entry.stat()
                yield f"{entry.path} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}\n"


def files_without_hash(context: Context, records: Records) -> Iterator[Path]:
    """Return what a finished run is made of, beside its inputs and the outputs of its steps."""
    out = context.folder.out
    yield from (out / name for name in _STATES)
    yield from sorted(path for path in out.iterdir() if path.is_file() and not path.name.startswith("."))
    for name in (EXPERIMENT, *(item.field_id for item in context.plan.fields)):
        yield from sorted(records.folder(name).glob("*.json"))
