"""Options that verbs share; the settings of `bridge.settings` as flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import pydantic.dataclasses
from cyclopts import Group, Parameter

from bridge.setting_options import GROUPS, TRAINING_GROUPS, Option, options_of
from bridge.settings import Settings
from bridge.training_settings import TrainSettings

GENERAL = Group("General", sort_key=0)
Debug = Annotated[bool, Parameter(group=GENERAL, negative=(), help="Show where an error came from.")]
SettingsFile = Annotated[
    Path | None,
    Parameter(
        group=GENERAL,
        name="--settings",
        help="Settings file (TOML), or the run.json of an earlier run; flags go before it.",
    ),
]
TrustSettings = Annotated[
    bool,
    Parameter(group=GENERAL, negative=(), help="The settings file is your own: fiji, java and out count in it, too."),
]
AcceptLabels = Annotated[
    bool, Parameter(group=GENERAL, negative=(), help="Take label images that do not look like any: as in run.")
]
OutFolder = Annotated[Path, Parameter(group=GENERAL, help="Results folder.")]


def _with_flags(kind: type[Any], titles: Mapping[str, str]) -> type[Any]:
    """Return the same kind of settings, with each of them told to cyclopts."""
    groups = {key: Group(title, sort_key=k) for k, (key, title) in enumerate(titles.items(), 1)}
    hints, options = get_type_hints(kind, include_extras=True), options_of(kind)
    content: dict[str, Any] = {"__annotations__": {}, "__module__": kind.__module__, "__doc__": kind.__doc__}
    for field in dataclasses.fields(kind):
        option = options[field.name]
        flag = Parameter(
            group=groups[option.group],
            help=option.help,
            negative=() if option.many or option.switch else None,
            show_default=False if option.many else None,
            consume_multiple=True if option.many else None,
        )
        what, *marks = get_args(hints[field.name])
        others = [mark for mark in marks if not isinstance(mark, Option)]
        content["__annotations__"][field.name] = Annotated[(what, *others, flag)]
        content[field.name] = field.default
    return pydantic.dataclasses.dataclass(frozen=True, config=kind.__pydantic_config__)(
        type(kind.__name__, (kind,), content)
    )


if TYPE_CHECKING:
    AllSettings = Settings
    AllTrainSettings = TrainSettings
else:
    AllSettings = Annotated[_with_flags(Settings, GROUPS), Parameter(name="*")]
    AllTrainSettings = Annotated[_with_flags(TrainSettings, TRAINING_GROUPS), Parameter(name="*")]
