"""A row for each track: when, how far, how fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bridge.tables import Column, typed_table


def summary_columns(measures: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of `track_summary.csv`.

    Examples
    --------
    >>> [c.name for c in summary_columns([])][-2:]
    ['speed_px', 'speed_um_s']
    """
    columns = [
        Column("series_id", "str", "", "series of frames"),
        Column("track_id", "int64", "", "track"),
        Column("parent_track_id", "int64", "", "track that divided into this one; 0 for none"),
        Column("begin", "int64", "", "first frame"),
        Column("end", "int64", "", "last frame"),
        Column("n_frames", "int64", "", "frames in which the cell was found"),
        Column("touches_border", "bool", "", "the cell is cut by the edge of the image in some frame"),
        Column("path_px", "float64", "px", "way of the centroid, the stage's drift taken out"),
        Column("net_px", "float64", "px", "from its first to its last place"),
        Column("path_um", "float64", "um", "path_px; empty where not calibrated"),
        Column("net_um", "float64", "um", "net_px; empty where not calibrated"),
        Column("speed_px", "float64", "px", "path for each frame"),
        Column("speed_um_s", "float64", "um/s", "path for each second; empty where the interval or the scale is not known"),
    ]  # fmt: skip
    for column in measures:
        for what, words in (("first", "in its first frame"), ("last", "in its last frame"), ("mean", "mean over frames"), ("slope", "change for each frame, by least squares; empty for one frame")):  # fmt: skip
            columns.append(Column(f"{column.name}_{what}", "float64", column.unit, f"{column.meaning}: {words}"))
    return tuple(columns)


def summary_of(
    tracks: pd.DataFrame,
    drift: pd.DataFrame,
    measures: Sequence[Column],
    pixel_um: float | None,
    interval_s: float | None,
) -> pd.DataFrame:
    """Return a row for each track.

    Parameters
    ----------
    tracks : DataFrame
        `bridge.tracking.tables.TRACKS` of one series, with columns of measures.
    drift : DataFrame
        `bridge.tracking.tables.DRIFT` of the series.
    measures : sequence of Column
    pixel_um : float or None
    interval_s : float or None

    Returns
    -------
    DataFrame
        `summary_columns`.
    """
    moved = np.cumsum(drift.sort_values("frame")[["drift_y_px", "drift_x_px"]].to_numpy(), axis=0)
    rows = []
    for track, part in tracks.sort_values(["track_id", "frame"], kind="stable").groupby("track_id", sort=True):
        frame = part["frame"].to_numpy()
        place = part[["y_px", "x_px"]].to_numpy() - moved[frame]
        path = float(np.linalg.norm(np.diff(place, axis=0), axis=1).sum())
        net = float(np.linalg.norm(place[-1] - place[0]))
        lasted = int(frame[-1] - frame[0])
        row: dict[str, Any] = {
            "series_id": part["series_id"].iloc[0],
            "track_id": track,
            "parent_track_id": part["parent_track_id"].iloc[0],
            "begin": frame[0],
            "end": frame[-1],
            "n_frames": len(part),
            "touches_border": bool(part["touches_border"].any()),
            "path_px": path,
            "net_px": net,
            "path_um": path * pixel_um if pixel_um else np.nan,
            "net_um": net * pixel_um if pixel_um else np.nan,
            "speed_px": path / lasted if lasted else np.nan,
            "speed_um_s": path * pixel_um / (lasted * interval_s) if pixel_um and interval_s and lasted else np.nan,
        }
        for column in measures:
            values = part[column.name].to_numpy(np.float64)
            known = np.isfinite(values)
            slope = float(np.polyfit(frame[known], values[known], 1)[0]) if known.sum() > 1 else np.nan
            row |= {f"{column.name}_first": values[0], f"{column.name}_last": values[-1]}
            row |= {f"{column.name}_mean": values[known].mean() if known.any() else np.nan, f"{column.name}_slope": slope}  # fmt: skip
        rows.append(row)
    return typed_table(rows, summary_columns(measures))
