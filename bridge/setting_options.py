"""What is said about settings, and how they hang together: groups, paths, what changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, get_args, get_type_hints

# What an option belongs to: changing it re-runs the steps that name its group (`bridge.pipeline.steps`).
PLAN, SEGMENT, COUNT, CELLPOSE, MEASURE, MACHINE = "plan", "segment", "count", "cellpose", "measure", "machine"
FILTERS, ASSAY = "filters", "assay"
TRAIN, PAIRS, RECIPE, SCORES = "train", "pairs", "recipe", "scores"
GROUPS = {
    PLAN: "Plan: which image is what",
    SEGMENT: "Segmentation: where the cells are",
    FILTERS: "Filters: which cells are kept, found or given",
    COUNT: "Count channel: how many nuclei",
    CELLPOSE: "Cellpose, for both",
    MEASURE: "Measuring in ImageJ",
    ASSAY: "Assay: who is positive, and what is compared; tables and figures follow at once",
    MACHINE: "Machine: changes no result",
}
TRAINING_GROUPS = {
    TRAIN: "Training: what is made of what",
    PAIRS: "Images: which are trained on",
    RECIPE: "Recipe (default: the preset's)",
    SCORES: "How the cells are found that are scored",
    MACHINE: GROUPS[MACHINE],
}
# Files and folders; a model or a Fiji may also be given by name.
NAMES_FIRST = ("model", "count_model", "fiji")
# What executes, and where is written, is typed by the person who runs it: a file may be a stranger's.
ON_THE_COMMAND_LINE = {
    "java": "runs a program", "fiji": "runs a program", "out": "says where is written", "status": "says where is written"
}  # fmt: skip
PATHS = ("samples", "masks", "regions", "flat_field", "java", *NAMES_FIRST)
# They decide whether something is done, not what comes out.
CHANGE_NOTHING = ("allow_missing", "accept_labels")


@dataclasses.dataclass(frozen=True)
class Option:
    """What is said about a setting, for whoever shows it: the command line, a dialog.

    Attributes
    ----------
    group : str
        Of `GROUPS` or `TRAINING_GROUPS`.
    help : str
    many : bool
        Takes several values.
    switch : bool
        Can only be switched on.
    """

    group: str
    help: str
    many: bool = False
    switch: bool = False


def split_words(value: object) -> object:
    """Return words given one by one, or with commas between them, as a tuple."""
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, Iterable):
        return tuple(part.strip() for item in value for part in str(item).split(",") if part.strip())
    return value


def options_of(kind: type[Any]) -> dict[str, Option]:
    """Return what is said about each setting of a kind of settings.

    Examples
    --------
    >>> from bridge.settings import Settings
    >>> options_of(Settings)["decimals"].help
    'Decimal places in Results files.'
    """
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: next(mark for mark in get_args(hints[field.name]) if isinstance(mark, Option))
        for field in dataclasses.fields(kind)
    }
