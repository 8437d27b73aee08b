"""How long a run will take, and how much it will write: from a few of its fields, done in a temporary folder."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.errors import InputError
from bridge.experiment.fields import Field, Plan
from bridge.pipeline.executor import Executor
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.records import Records
from bridge.pipeline.refusals import resolve_models
from bridge.pipeline.results_folder import ResultsFolder
from bridge.pipeline.step import Context
from bridge.pipeline.steps import ORDER
from bridge.settings import Settings

_TIMED = 3  # fields, after one that loads the network and starts ImageJ


@dataclass(frozen=True)
class Estimate:
    """What a run will take on this computer.

    Attributes
    ----------
    fields : int
    start_s : float
        Until the first field is done: the network is loaded, ImageJ started.
    field_s : float
        Each field after it.
    field_bytes : float
        Of label images, ROI sets, Results and records; pictures and tables not counted.
    """

    fields: int
    start_s: float
    field_s: float
    field_bytes: float

    def __str__(self) -> str:
        """Say it in one sentence.

        Examples
        --------
        >>> str(Estimate(2760, 8.0, 4.2, 3.1e6))
        'about 3.2 hours and 8.6 GB on this computer: 4.2 s and 3.1 MB a field, 8 s to begin'
        """
        seconds = self.start_s + self.field_s * (self.fields - 1)
        long = f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{max(seconds / 60, 0.1):.1f} minutes"
        size = self.field_bytes * self.fields
        large = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
        return f"about {long} and {large} on this computer: {self.field_s:.2g} s and {self.field_bytes / 1e6:.1f} MB a field, {self.start_s:.0f} s to begin"


def estimate(plan: Plan, settings: Settings) -> Estimate:
    """Do a few fields of a plan, and tell what all of them will take.

    Parameters
    ----------
    plan : Plan
    settings : Settings

    Returns
    -------
    Estimate

    Raises
    ------
    InputError
        There is no field that can be processed, or one of them failed.
    """
    usable = [item for item in plan.fields if not item.problems]
    if not usable:
        raise InputError(f"{plan.images}: not one field can be processed (got 0, expected 1). See: cellpose-fiji plan")
    steps = tuple(step for step in ORDER if step.scope == "field" and not step.early)
    with tempfile.TemporaryDirectory(prefix="cellpose-fiji-") as name:
        out = Path(name)
        some = usable[:: max(1, len(usable) // (_TIMED + 1))][: _TIMED + 1]
        context = Context(replace(plan, fields=tuple(some)), settings, ResultsFolder(out), Hashes(out), resolve_models(plan, settings, None))  # fmt: skip
        executor = Executor(context, Records(out), steps, lambda _: None)
        timed = Executor(context, Records(out), steps, lambda _: None, executor.resources)
        try:
            first = _seconds(executor, some[:1])
            each = _seconds(timed, some[1:]) / len(some[1:]) if some[1:] else first
        finally:
            timed.close()
            executor.close()
        for failure in (*executor.failures, *timed.failures):
            raise InputError(failure.message)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / len(some)
    return Estimate(len(usable), first, each, size)


def _seconds(executor: Executor, fields: list[Field]) -> float:
    began = time.perf_counter()
    executor.run_fields(fields)
    return time.perf_counter() - began
