"""What a model has learnt from: the record beside its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridge.foreign import read_json
from bridge.names import TRAINING_RECORD

_STATE = "training.state"


def held_out_of(model: str | None) -> set[str]:
    """Return the hashes of the images that were held out when a model was trained here; none of any other model."""
    return set(record_beside(Path(model or "")).get("held_out_pixels", ()))


def seen_by(model: str | None) -> set[str]:
    """Return the hashes of the images that a model made here learnt from, also through its base; none of any other."""
    return set(record_beside(Path(model or "")).get("seen_pixels", ()))


def record_beside(model: Path) -> dict[str, Any]:
    """What `training.json` says of the model beside it; nothing if it is of another model."""
    try:
        record = read_json(model.with_name(TRAINING_RECORD))
        _ = set(record["held_out_pixels"]), set(record["seen_pixels"]), str(record["base"]), str(record["licence"])
        return record if record["model"] == model.name else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
