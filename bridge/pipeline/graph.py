"""How steps hang together: who needs whom, which code computes a step, what its record is made from."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridge.names import safe_name
from bridge.pipeline.code_hash import code_hash
from bridge.pipeline.records import Records
from bridge.pipeline.step import Step, Task

EXPERIMENT = "_experiment"  # where a field's name would stand, for what all fields give


@dataclass(frozen=True)
class Graph:
    """The steps of a pipeline in their order.

    Attributes
    ----------
    steps : tuple of Step
    """

    steps: tuple[Step, ...]

    @functools.cached_property
    def by_name(self) -> dict[str, Step]:
        """The steps by name."""
        return {step.name: step for step in self.steps}

    def of_fields(self) -> list[Step]:
        """Return the steps that are done field by field."""
        return [step for step in self.steps if step.scope == "field"]

    def consumers(self, step: Step) -> list[Step]:
        """Return the recorded steps for which an unrecorded one works, directly or through others."""
        needed: list[Step] = []
        for other in self.steps:
            if step.name in other.needs:
                needed += [other] if other.recorded else self.consumers(other)
        return list(dict.fromkeys(needed))

    def reported_as(self, step: Step) -> str:
        """Return the name under which a failure of a step is listed."""
        return step.name if step.recorded else next((other.name for other in self.consumers(step)), step.name)

    def code(self, step: Step) -> str:
        """Return the hash of the source that computes a step, with the unrecorded steps that work for it."""
        return _code(tuple(sorted(self._modules(step))))

    def _modules(self, step: Step) -> set[str]:
        modules = {step.work.__module__, *(resource.make.__module__ for resource in step.resources)}
        for name in step.needs:
            if not self.by_name[name].recorded:
                modules |= self._modules(self.by_name[name])
        return modules

    def recorded_needs(self, step: Step) -> list[Step]:
        """Return the recorded steps that a step needs."""
        return [self.by_name[name] for name in step.needs if self.by_name[name].recorded]

    def made_from(self, step: Step, task: Task, records: Records) -> dict[str, Any]:
        """Return everything that a step's outputs depend on."""
        needed = self.recorded_needs(step)
        if step.scope == "field":
            files: dict[str, Any] = {need.name: records.outputs(task.name, need.name) for need in needed}
        else:
            files = {
                need.name: {item.field_id: records.outputs(item.field_id, need.name) for item in task.fields}
                for need in needed
            }
        groups = step.settings(task) if callable(step.settings) else step.settings
        return {
            "code": self.code(step),
            **task.settings.in_groups(*groups, paths=False),
            **step.made_from(task),
            "needs": files,
        }


@functools.lru_cache(maxsize=100)
def _code(modules: tuple[str, ...]) -> str:
    return code_hash(modules)


def record_of(step: Step, name: str) -> tuple[str, str]:
    """Return where the record of a step is: the folder of a field or of the experiment, and its name in it.

    Examples
    --------
    >>> from bridge.pipeline.steps import ORDER
    >>> by_name = {step.name: step for step in ORDER}
    >>> record_of(by_name["rois"], "DMSO_f1"), record_of(by_name["contact_sheet"], "Drug A")
    (('DMSO_f1', 'rois'), ('_experiment', 'contact_sheet_Drug_A'))
    """
    if step.scope == "field":
        return name, step.name
    return EXPERIMENT, step.name if step.scope == "experiment" else f"{step.name}_{safe_name(name)}"


def groups_of(step: Step, fields: Sequence[Any]) -> dict[str, tuple[Any, ...]]:
    """Return the fields of each condition, replicate or experiment that a step of that scope is done for."""
    if step.scope == "experiment":
        return {EXPERIMENT: tuple(fields)}
    groups: dict[str, list[Any]] = {}
    for item in fields:
        name = item.condition if step.scope == "condition" else f"{item.condition}/{item.replicate}"
        groups.setdefault(name, []).append(item)
    return {name: tuple(items) for name, items in groups.items()}
