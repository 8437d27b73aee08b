"""The network looks at an image: what it says is handed over, in memory, to the step that makes the label image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.pipeline.step import MAIN, Context, Outcome, Resource, Step, Task
from bridge.pipeline.steps.read import has_count
from bridge.segmentation.normalisation import Normalisation
from bridge.segmentation.segmenter import Segmenter

if TYPE_CHECKING:
    from bridge.images.image import Plane


def _segmenter(context: Context, role: str) -> Segmenter:
    s = context.settings
    return Segmenter(context.models[role], s.device, s.inference, s.precision)


def _segment_network(context: Context) -> Segmenter:
    return _segmenter(context, "segment")


def _count_network(context: Context) -> Segmenter:
    return _segmenter(context, "count")


def _predict(task: Task, role: str, seen: Any, diameter: Any, **shown: Any) -> Outcome:
    s = task.settings
    return Outcome(
        task.resources[f"{role}_network"].predict(
            seen,
            diameter,
            s.flow_threshold,
            s.cellprob_threshold,
            s.min_size,
            s.border,
            s.batch_size,
            s.tile,
            task.name,
            **shown,
        )
    )


def _predict_cells(task: Task) -> Outcome:
    plane: Plane = task.given["segment_image"]
    s = task.settings
    return _predict(
        task, "segment", plane.seen, s.diameter, normalisation=Normalisation(s.percentiles, s.invert, s.normalise_tile)
    )


def _predict_nuclei(task: Task) -> Outcome:
    plane: Plane = task.given["count_image"]
    return _predict(task, "count", plane.pixels, task.settings.count_diameter)


def _without_mask(task: Task) -> bool:
    return task.item.mask is None


CELLS = Resource("segment_network", _segment_network)
NUCLEI = Resource("count_network", _count_network)
CELL_NETWORK = Step(
    "cell_network", "field", _predict_cells, lane=MAIN, needs=("segment_image",), resources=(CELLS,), recorded=False,
    applies=_without_mask, words="cells",
)  # fmt: skip
NUCLEUS_NETWORK = Step(
    "nucleus_network", "field", _predict_nuclei, lane=MAIN, needs=("count_image",), resources=(NUCLEI,), recorded=False,
    applies=has_count, words="nuclei",
)  # fmt: skip
