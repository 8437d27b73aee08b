"""Settings from names and values, and from files; what is wrong with them in one sentence."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from bridge.errors import InputError
from bridge.files import new_file, write_text
from bridge.foreign import read_json, read_text
from bridge.setting_options import NAMES_FIRST, ON_THE_COMMAND_LINE, PATHS
from bridge.settings import Settings
from bridge.training_settings import TrainSettings

Kind = TypeVar("Kind", Settings, TrainSettings)


def train_settings_from(values: Mapping[str, Any]) -> TrainSettings:
    """Make `TrainSettings` from names and values; as `settings_from`."""
    return _made(TrainSettings, values, "train")


def settings_from(values: Mapping[str, Any], source: str = "settings") -> Settings:
    """Make `Settings` from names and values.

    Parameters
    ----------
    values : mapping
        Names with ``_`` or ``-``.
    source : str
        Named in the message when a value cannot be used.

    Raises
    ------
    InputError
        An unknown name or a value out of range.

    Examples
    --------
    >>> settings_from({"rolling-ball": 25}).rolling_ball
    25.0
    """
    return _made(Settings, values, source)


def _made(kind: type[Kind], values: Mapping[str, Any], source: str) -> Kind:
    try:
        return kind(**{name.replace("-", "_"): value for name, value in values.items()})
    except ValidationError as error:
        raise refusal(error, source, kind) from error


def refusal(error: ValidationError, source: str, kind: type[Any] = Settings) -> InputError:
    """Put what pydantic found wrong into one sentence."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""  # rules over several settings begin with the name
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return InputError(
            f"{source}: unknown setting (got {name}, expected one of {', '.join(f.name for f in dataclasses.fields(kind))}). Correct the name."
        )
    text = _words(first)
    got = "" if "(got " in text else f" (got {first['input']!r})"
    if name:
        text = f"{name.replace('_', '-')}: {text}{got}"
    return InputError(f"{source}: {text}. Correct the value.")


def _words(error: Any) -> str:
    """Say in our words what pydantic found."""
    kind, given = str(error["type"]), error["input"]
    if kind in ("float_parsing", "int_parsing", "float_type", "int_type"):
        return "not a number; write it with a decimal point" if "," in str(given) else "not a number"
    if kind in ("bool_parsing", "bool_type"):
        return "neither true nor false"
    if kind == "literal_error":
        return f"not one of {error['ctx']['expected']}"
    limits = {"greater_than_equal": ("ge", "at least"), "greater_than": ("gt", "more than"), "less_than_equal": ("le", "at most"), "less_than": ("lt", "less than")}  # fmt: skip
    if kind in limits:
        key, words = limits[kind]
        return f"out of range (got {given}, expected {words} {error['ctx'][key]})"
    return str(error["msg"]).removeprefix("Value error, ")


def read_settings_file(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file, or from the `run.json` of an earlier run.

    Parameters
    ----------
    path : Path
        ``*.toml`` with one key for each option, or a ``run.json``.

    Returns
    -------
    dict
        Names (with ``_``) and values; `images` may be among them.

    Raises
    ------
    InputError
        No such file, or not TOML / JSON.
    """
    try:
        if path.suffix.lower() == ".json":
            values = dict(read_json(path)["settings"])
        else:
            values = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such settings file. Check the path given with --settings.") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not a settings file ({error}). Give TOML, or the run.json of an earlier run."
        ) from None
    values = {name.replace("-", "_"): value for name, value in values.items()}
    # Relative to the settings file, so that it works from any folder.
    for name in ("images", *PATHS):
        if (
            isinstance(values.get(name), str)
            and values[name]
            and (name not in NAMES_FIRST or _is_there(name, path.parent / values[name]))
        ):
            values[name] = str(path.parent / values[name])
    return values


def _is_there(name: str, path: Path) -> bool:
    if name == "fiji":
        return path.name != "core" and path.is_dir()
    # A model is a file: a folder that happens to have a model's name is not meant.
    return path.is_file()


def write_settings(path: Path, settings: Settings, images: Path) -> Path:
    r"""Write what differs from the defaults as a settings file that ``--settings`` takes.

    Parameters
    ----------
    path : Path
        ``*.toml``; must not exist.
    settings : Settings
    images : Path
        Written, too.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        The file is there already, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = write_settings(Path(tempfile.mkdtemp()) / "a.toml", Settings(measure=("w2",), ring=5), Path("/data"))
    >>> path.read_text()
    'images = "/data"\nmeasure = ["w2"]\nring = 5\n'
    """
    plain, default = settings.as_json(), Settings().as_json()
    lines = [f"images = {json.dumps(str(images.resolve()), ensure_ascii=False)}"]
    for name, value in plain.items():
        if value == default[name] or value is None or name in ON_THE_COMMAND_LINE:
            continue
        there = name in PATHS and isinstance(value, str) and Path(value).exists() and name not in NAMES_FIRST
        # JSON's texts, numbers, lists and truth values are TOML's, too.
        lines.append(f"{name} = {json.dumps(str(Path(value).resolve()) if there else value, ensure_ascii=False)}")
    write_text(new_file(path), "\n".join(lines) + "\n")
    return path
