"""What a step is: declared once, a function that pickles; everything else is the executor's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bridge.experiment.fields import Field, Plan
    from bridge.pipeline.hashes import Hashes
    from bridge.pipeline.results_folder import ResultsFolder
    from bridge.segmentation.models import ModelFile
    from bridge.settings import Settings

Scope = Literal["field", "condition", "replicate", "experiment"]
MAIN = "main"  # the lane of the thread that runs the pipeline: networks, which Ctrl-C must reach


@dataclass(frozen=True)
class Context:
    """What all steps of a run share; it pickles.

    Attributes
    ----------
    plan : Plan
    settings : Settings
    folder : ResultsFolder
        Where files are.
    hashes : Hashes
        SHA-256 of inputs, each read once.
    models : mapping of str to ModelFile
        By what they find: ``segment`` or ``count``.
    """

    plan: Plan
    settings: Settings
    folder: ResultsFolder
    hashes: Hashes
    models: Mapping[str, ModelFile] = field(default_factory=dict)


@dataclass
class Task:
    """What a step works on.

    Attributes
    ----------
    context : Context
    fields : tuple of Field
        One for a step of scope ``field``; else those of the condition, replicate or experiment that are finished.
    name : str
        Of the field, condition or replicate.
    given : dict
        What the steps it needs hand over, by step; a step of several fields reads their files, for nobody holds
        ten thousand label images.
    facts : dict
        What those steps noted in their records, by step; for scopes of several fields by step and ``field_id``.
    in_memory : mapping
        Whatever else of the field is still in memory: values by step.
    known : mapping
        Of a step that is tried early: what the steps it needs noted for all fields so far, by step and ``field_id``.
    resources : mapping
        A loaded network, a running ImageJ: made once in each worker, never pickled.
    """

    context: Context
    fields: tuple[Field, ...]
    name: str
    given: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    in_memory: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)

    @property
    def item(self) -> Field:
        """The field of a step of scope ``field``."""
        (item,) = self.fields
        return item

    @property
    def settings(self) -> Settings:
        """The run's settings."""
        return self.context.settings

    @property
    def folder(self) -> ResultsFolder:
        """Where the run's files are."""
        return self.context.folder


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Attributes
    ----------
    value : object
        Handed over to the steps that need it, in memory.
    facts : dict
        Noted in the record; plain data.
    """

    value: Any = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resource:
    """Something costly that a step needs: made once in each worker when it is first needed.

    Attributes
    ----------
    name : str
        The same name is the same resource.
    make : callable
        From the context.
    start : callable, optional
        Begun early, in the step's lane, where the step will run.
    close : callable, optional
    words : str
        What is said while it is made; empty for nothing.
    """

    name: str
    make: Callable[[Context], Any]
    start: Callable[[Any], object] | None = None
    close: Callable[[Any], object] | None = None
    words: str = ""


def _nothing(_: Task) -> dict[str, Any]:
    return {}


def _no_files(_: Task) -> list[Path]:
    return []


def _always(_: Task) -> bool:
    return True


@dataclass(frozen=True)
class Step:
    """One step of the pipeline. All of its functions stand at the top of their module, so they pickle.

    Attributes
    ----------
    name : str
        Of its record, and in `failures.csv`.
    scope : {"field", "condition", "replicate", "experiment"}
        What it is done for.
    work : callable
        From a `Task` to an `Outcome`; it writes `outputs` and nothing else.
    lane : str
        Steps of one lane wait for each other, in the order of the fields; lanes run at the same time.
    needs : tuple of str
        Steps whose values and facts it gets; it is made again where their outputs changed.
    outputs : callable
        The files it writes.
    made_from : callable
        What else its outputs depend on: hashes of inputs, versions of libraries.
    settings : tuple of str, or callable
        Groups of settings its outputs depend on (`bridge.setting_options.GROUPS`).
    load : callable, optional
        Its value, from the files of an earlier start.
    applies : callable
        Whether there is anything to do for this field, condition, ...
    resources : tuple of Resource
    recorded : bool
        False for a step that only hands something over, in the same worker: it runs where the steps that need it do.
    derived : bool
        It follows from others alone: it is made again unasked.
    early : bool
        Of a field step that follows from all fields: it is tried with what is known so far, while the images are in
        memory, and again at the end.
    words : str
        What is said while it runs; empty for nothing.
    together : callable, optional
        The work for several fields in one call, each with its outcome: a network fills its batches across fields. It
        returns an empty list where nothing is won by it: then it is done field by field.
    at_once : int
        How many fields `together` takes at most.
    """

    name: str
    scope: Scope
    work: Callable[[Task], Outcome]
    lane: str
    needs: tuple[str, ...] = ()
    outputs: Callable[[Task], list[Path]] = _no_files
    made_from: Callable[[Task], dict[str, Any]] = _nothing
    settings: tuple[str, ...] | Callable[[Task], tuple[str, ...]] = ()
    load: Callable[[Task], Any] | None = None
    applies: Callable[[Task], bool] = _always
    resources: tuple[Resource, ...] = ()
    recorded: bool = True
    derived: bool = False
    early: bool = False
    words: str = ""
    together: Callable[[list[Task]], list[Outcome]] | None = None
    at_once: int = 1
