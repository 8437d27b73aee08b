"""Cellpose masks to exact ImageJ ROI sets, measured by headless Fiji, per treatment condition.

The verbs of the command line are functions here: `plan`, `run`, `segment`, `trace` (the verb ``rois``), `rasterize`
(``labels``), `compare`, `measure`, `summarize`, `plot`, `correct` and `collect`, `train`,
`ablate`, `evaluate` (with ``--sweep``: `sweep`, with ``--diameters``: `compare_diameters`), `export_coco`, `import_coco`.
`bridge.demo.run_demo`, `bridge.doctor.checkup` and `bridge.macros.install` are the others.

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
    from bridge.coco import export_coco, import_coco
    from bridge.corrections import collect, correct
    from bridge.errors import BridgeError
    from bridge.experiment import Plan
    from bridge.finetune import train
    from bridge.scoring import evaluate
    from bridge.settings import Settings
    from bridge.steps import compare, measure, plan, plot, rasterize, segment, summarize, trace
    from bridge.tuning import ablate, compare_diameters, sweep
    from bridge.workflow import Report, run

# The public names and where they live: nothing is imported before it is used.
_HOMES = {
    "BridgeError": "bridge.errors",
    "Plan": "bridge.experiment",
    "Report": "bridge.workflow",
    "Settings": "bridge.settings",
    "ablate": "bridge.tuning",
    "collect": "bridge.corrections",
    "compare": "bridge.steps",
    "compare_diameters": "bridge.tuning",
    "correct": "bridge.corrections",
    "evaluate": "bridge.scoring",
    "export_coco": "bridge.coco",
    "import_coco": "bridge.coco",
    "measure": "bridge.steps",
    "plan": "bridge.steps",
    "plot": "bridge.steps",
    "rasterize": "bridge.steps",
    "run": "bridge.workflow",
    "segment": "bridge.steps",
    "summarize": "bridge.steps",
    "sweep": "bridge.tuning",
    "trace": "bridge.steps",
    "train": "bridge.finetune",
}
__all__ = [
    "BridgeError", "Plan", "Report", "Settings", "ablate", "collect", "compare", "compare_diameters", "correct", "evaluate", "export_coco", "import_coco", "measure", "plan", "plot", "rasterize",
    "run", "segment", "summarize", "sweep", "trace", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("demo", "doctor", "evaluation", "imagej", "rois", "segmentation"):
        return importlib.import_module(f"bridge.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'bridge' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
