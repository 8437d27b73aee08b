"""The network looks at an image: what it says is handed over, in memory, to the step that makes the label image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from bridge.pipeline.step import MAIN, Context, Outcome, Resource, Step, Task
from bridge.pipeline.steps.read import has_count
from bridge.segmentation.normalisation import Normalisation
from bridge.segmentation.segmenter import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.images.image import Plane
    from bridge.segmentation.kept import Segmented
    from bridge.settings import Settings


_AT_ONCE = 8  # fields: on a card their tiles share batches


def _segmenter(context: Context, role: str) -> Segmenter:
    s = context.settings
    keep = context.folder.network if s.keep_network else None
    return Segmenter(context.models[role], s.device, s.inference, s.precision, keep)


def _segment_network(context: Context) -> Segmenter:
    return _segmenter(context, "segment")


def _count_network(context: Context) -> Segmenter:
    return _segmenter(context, "count")


def predict_cells(segmenter: Segmenter, plane: Plane, s: Settings, name: str, **watch: Any) -> Callable[..., Segmented]:
    """Let a network look at an image of cells; what is returned makes the label image.

    `watch` are `progress` and `stop` of `Segmenter.predict`.
    """
    shown = Normalisation(s.percentiles, s.invert, s.normalise_tile)
    return segmenter.predict(plane.seen, s.diameter, *_how(s), name, shown, **watch)


def predict_nuclei(
    segmenter: Segmenter, plane: Plane, s: Settings, name: str, **watch: Any
) -> Callable[..., Segmented]:
    """Let a network look at an image of nuclei, likewise."""
    return segmenter.predict(plane.pixels, s.count_diameter, *_how(s), name, **watch)


def _how(s: Settings) -> tuple[float, float, int, Literal["keep", "drop"], int, int]:
    return s.flow_threshold, s.cellprob_threshold, s.min_size, s.border, s.batch_size, s.tile


def _cells(task: Task) -> Outcome:
    network = task.resources["segment_network"]
    return Outcome(predict_cells(network, task.given["segment_image"], task.settings, task.name))


def _nuclei(task: Task) -> Outcome:
    network = task.resources["count_network"]
    return Outcome(predict_nuclei(network, task.given["count_image"], task.settings, task.name))


def _cells_together(tasks: list[Task]) -> list[Outcome]:
    return _in_shared_batches(tasks, "segment_network", _cells)


def _nuclei_together(tasks: list[Task]) -> list[Outcome]:
    return _in_shared_batches(tasks, "count_network", _nuclei)


def _in_shared_batches(tasks: list[Task], network: str, work: Callable[[Task], Outcome]) -> list[Outcome]:
    segmenter: Segmenter = tasks[0].resources[network]
    if not segmenter.shares_batches:
        return []
    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(work, tasks))


def _without_mask(task: Task) -> bool:
    return task.item.mask is None


CELLS = Resource("segment_network", _segment_network, words="loading Cellpose")
NUCLEI = Resource("count_network", _count_network, words="loading Cellpose")
CELL_NETWORK = Step(
    "cell_network", "field", _cells, lane=MAIN, needs=("segment_image",), resources=(CELLS,), recorded=False,
    applies=_without_mask, words="cells", together=_cells_together, at_once=_AT_ONCE,
)  # fmt: skip
NUCLEUS_NETWORK = Step(
    "nucleus_network", "field", _nuclei, lane=MAIN, needs=("count_image",), resources=(NUCLEI,), recorded=False,
    applies=has_count, words="nuclei", together=_nuclei_together, at_once=_AT_ONCE,
)  # fmt: skip
