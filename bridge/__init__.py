"""Cellpose masks to exact ImageJ ROI sets, measured by headless Fiji, per treatment condition.

The verbs of the command line are functions here: `plan`, `run` (with ``--shard``: `run_shard`), `merge`, `clean`, `segment`, `trace` (the verb ``rois``), `rasterize`
(``labels``), `compare`, `convert`, `measure`, `summarize`, `plot`, `preview`, `correct`, `collect`, `apply` and
`undo`, `classify`, `unclassify`, `track`, `untrack`, `train`, `ablate`, `evaluate` (with ``--tracks``: `evaluate_tracks`, with ``--sweep``: `sweep`, with ``--diameters``: `compare_diameters`), `export_coco`, `import_coco`, `bundle`, `verify`.
`bridge.demo.run_demo`, `bridge.doctor.checkup` and `bridge.fiji_menu.install` are the others.

Examples
--------
>>> import bridge
>>> plan = bridge.plan("images")                                               # doctest: +SKIP
>>> report = bridge.run("images", out="results", model="cyto_0", diameter=50)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.errors import BridgeError
    from bridge.evaluation.coco_folders import export_coco, import_coco
    from bridge.evaluation.evaluate import evaluate
    from bridge.evaluation.sweep import compare_diameters, sweep
    from bridge.evaluation.track_scores import evaluate_tracks
    from bridge.experiment.fields import Plan
    from bridge.pipeline.apply_corrections import apply, undo
    from bridge.pipeline.bundle import bundle
    from bridge.pipeline.classify import classify, unclassify
    from bridge.pipeline.clean import clean
    from bridge.pipeline.convert import convert
    from bridge.pipeline.corrections import collect, correct
    from bridge.pipeline.export import export
    from bridge.pipeline.flat_fields import flat_field
    from bridge.pipeline.preview import preview
    from bridge.pipeline.robustness import robustness
    from bridge.pipeline.roiset_verbs import compare, rasterize, trace
    from bridge.pipeline.run import Report, run
    from bridge.pipeline.shards import merge, run_shard
    from bridge.pipeline.track import track, untrack
    from bridge.pipeline.verbs import measure, plan, plot, segment, summarize
    from bridge.pipeline.verify import verify
    from bridge.settings import Settings
    from bridge.training.ablation import ablate
    from bridge.training.train import train

# The public names and where they live: nothing is imported before it is used.
_HOMES = {
    "BridgeError": "bridge.errors",
    "Plan": "bridge.experiment.fields",
    "Report": "bridge.pipeline.run",
    "Settings": "bridge.settings",
    "ablate": "bridge.training.ablation",
    "apply": "bridge.pipeline.apply_corrections",
    "bundle": "bridge.pipeline.bundle",
    "classify": "bridge.pipeline.classify",
    "clean": "bridge.pipeline.clean",
    "collect": "bridge.pipeline.corrections",
    "compare": "bridge.pipeline.roiset_verbs",
    "convert": "bridge.pipeline.convert",
    "compare_diameters": "bridge.evaluation.sweep",
    "correct": "bridge.pipeline.corrections",
    "evaluate": "bridge.evaluation.evaluate",
    "evaluate_tracks": "bridge.evaluation.track_scores",
    "flat_field": "bridge.pipeline.flat_fields",
    "export": "bridge.pipeline.export",
    "export_coco": "bridge.evaluation.coco_folders",
    "import_coco": "bridge.evaluation.coco_folders",
    "merge": "bridge.pipeline.shards",
    "measure": "bridge.pipeline.verbs",
    "plan": "bridge.pipeline.verbs",
    "plot": "bridge.pipeline.verbs",
    "preview": "bridge.pipeline.preview",
    "rasterize": "bridge.pipeline.roiset_verbs",
    "robustness": "bridge.pipeline.robustness",
    "run": "bridge.pipeline.run",
    "run_shard": "bridge.pipeline.shards",
    "segment": "bridge.pipeline.verbs",
    "summarize": "bridge.pipeline.verbs",
    "sweep": "bridge.evaluation.sweep",
    "trace": "bridge.pipeline.roiset_verbs",
    "track": "bridge.pipeline.track",
    "unclassify": "bridge.pipeline.classify",
    "untrack": "bridge.pipeline.track",
    "undo": "bridge.pipeline.apply_corrections",
    "train": "bridge.training.train",
    "verify": "bridge.pipeline.verify",
}
__all__ = [
    "BridgeError",
    "Plan",
    "Report",
    "Settings",
    "ablate",
    "apply",
    "bundle",
    "classify",
    "clean",
    "collect",
    "compare",
    "compare_diameters",
    "convert",
    "correct",
    "evaluate",
    "evaluate_tracks",
    "export",
    "export_coco",
    "flat_field",
    "import_coco",
    "measure",
    "merge",
    "plan",
    "plot",
    "preview",
    "rasterize",
    "robustness",
    "run",
    "run_shard",
    "segment",
    "summarize",
    "sweep",
    "trace",
    "track",
    "train",
    "unclassify",
    "undo",
    "untrack",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in ("demo", "doctor", "fiji_menu"):
        return importlib.import_module(f"bridge.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'bridge' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
