"""Cells followed over the series of a run, where it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bridge.errors import InputError, ModelError
from bridge.files import sha256
from bridge.foreign import read_json
from bridge.images.label_images import read_labels
from bridge.images.reader import read_plane
from bridge.names import safe_name
from bridge.pipeline.columns import columns_of
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.measure import scale_of
from bridge.pipeline.steps.read import source
from bridge.pipeline.track_files import Series, track_paths, write_tracks
from bridge.segmentation.backend import torch_device
from bridge.tables import CELL, ROWS, Column, measured_columns, read_table
from bridge.tracking.ctc import require_all
from bridge.tracking.track_settings import TrackSettings
from bridge.tracking.trackastra_links import model_digest

if TYPE_CHECKING:
    from bridge.experiment.fields import Field


EDGES = (
    Column("frame", "int64", "", "frame of the earlier cell"),
    Column("label", "int64", "", "its label"),
    Column("to_frame", "int64", "", "frame of the later cell"),
    Column("to_label", "int64", "", "its label"),
)


def series_of(fields: Sequence[Field]) -> dict[str, list[Field]]:
    """Return the fields of each series, in the order of their frames.

    Raises
    ------
    InputError
        A frame is missing, or there is one only.
    """
    found = _series_of(fields)
    for name, items in found.items():
        require_all([item.frame or 0 for item in items], name)
    return found


def _series_of(fields: Sequence[Field]) -> dict[str, list[Field]]:
    found: dict[str, list[Field]] = {}
    for item in sorted(fields, key=lambda item: item.frame or 0):
        if item.series_id and item.frame is not None:
            found.setdefault(item.series_id, []).append(item)
    return dict(sorted(found.items()))


def _whole(fields: Sequence[Field]) -> tuple[dict[str, list[Field]], list[str]]:
    """Return the series that can be followed, and why the others cannot: a frame may have failed."""
    whole, problems = {}, []
    for name, items in _series_of(fields).items():
        try:
            require_all([item.frame or 0 for item in items], name)
            whole[name] = items
        except InputError as error:
            problems.append(str(error))
    return whole, problems


def _track(task: Task) -> Outcome:
    how = read_json(task.folder.tracking())
    interval, geff = how.pop("interval_s", None), how.pop("geff", False)
    columns, digest = measured_columns(columns_of(task.context)), how.pop("trackastra_sha256", None)
    if digest and digest != model_digest(Path(how["trackastra"])):
        raise ModelError(f"{how['trackastra']}: not the model that followed these cells. Bring it back, or give the new one: cellpose-fiji track {task.folder.out} --trackastra FOLDER")  # fmt: skip
    device = torch_device(task.settings.device).type if digest else "cpu"
    whole, problems = _whole(task.fields)
    series = [_series(task, name, items, columns) for name, items in whole.items()]
    tracks, divisions = write_tracks(
        task.folder.tracking().parent,
        series,
        TrackSettings(**how),
        interval,
        lambda _: None,
        geff,
        device,
    )
    return Outcome(None, {"series": len(series), "tracks": int(tracks.groupby("series_id")["track_id"].nunique().sum()), "divisions": len(divisions), "warnings": problems})  # fmt: skip


def _series(task: Task, name: str, items: list[Field], columns: Sequence[Any]) -> Series:
    files = [item.segment or next(iter(item.measure.values()), None) for item in items]

    def image_of(frame: int) -> Any:
        file = files[frame]
        assert file is not None
        return read_plane(file.alone, task.settings.rgb_channel, items[frame].segment is None).pixels

    first = Task(task.context, (items[0],), items[0].field_id)
    parts = [
        read_table(task.folder.table(item, ROWS[CELL]), columns_of(task.context))[
            ["label", *(c.name for c in columns)]
        ].assign(frame=k)
        for k, item in enumerate(items)
    ]
    scale = scale_of(first)
    return Series(
        name, tuple(item.field_id for item in items), lambda k: read_labels(task.folder.mask(items[k])),
        image_of if all(files) else None, files[0].path if files[0] else None,
        scale.pixel_um[0] if scale.pixel_size_um else None, pd.concat(parts, ignore_index=True), tuple(columns),
        read_table(edited, EDGES) if (edited := edited_file(task.folder.tracking(), name)).is_file() else None,
    )  # fmt: skip


def edited_file(tracking: Path, series_id: str) -> Path:
    """Return the file of the links of a series that a person made; where it is, they count."""
    return tracking.parent / "edited" / f"{safe_name(series_id)}.csv"


def _applies(task: Task) -> bool:
    return task.folder.tracking().is_file()


def _made_from(task: Task) -> dict[str, Any]:
    series = _whole(task.fields)[0]
    seen = [item.segment for items in series.values() for item in items if item.segment is not None]
    images = [source(task, file.alone) for file in seen] if read_json(task.folder.tracking()).get("trackastra") else []
    return {
        **({"images": images} if images else {}),
        "how": read_json(task.folder.tracking()),
        "series": {name: [item.field_id for item in items] for name, items in series.items()},
        "edited": {
            name: sha256(edited) for name in series if (edited := edited_file(task.folder.tracking(), name)).is_file()
        },
        "labels": {item.field_id: sha256(task.folder.mask(item)) for items in series.values() for item in items},
    }


def _files(task: Task) -> list[Path]:
    series = {name: len(items) for name, items in _whole(task.fields)[0].items()}
    return track_paths(task.folder.tracking().parent, series)


# Not a scope of its own: series share tables, and following them takes seconds.
TRACKS = Step(
    "tracks", "experiment", _track, lane="tables", needs=("measure",), outputs=_files, made_from=_made_from,
    applies=_applies, derived=True, words="tracks",
)  # fmt: skip
