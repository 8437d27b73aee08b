"""GEFF, the exchange format of today's trackers: a graph of cells in a Zarr folder."""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from bridge.errors import MissingDependencyError
from bridge.tracking.trackmate import edges_of


def require_geff() -> None:
    """Refuse where the library is missing.

    Raises
    ------
    MissingDependencyError
    """
    if importlib.util.find_spec("geff") is None:
        raise MissingDependencyError("track --geff: geff is not installed (expected the extra geff). Install it: pip install 'cellpose-fiji-bridge[geff]'")  # fmt: skip


def write_geff(path: Path, tracks: pd.DataFrame, pixel: float, unit: str | None, interval_s: float | None) -> None:
    """Write the tracks of one series as a GEFF folder; one that is there is replaced.

    Parameters
    ----------
    path : Path
        ``*.geff``.
    tracks : DataFrame
        `bridge.tracking.tables.TRACKS` of one series.
    pixel : float
        Side of a pixel, by which the axes y and x are scaled.
    unit : str or None
        Of `pixel`.
    interval_s : float or None
        Seconds from one frame to the next.
    """
    import geff
    import networkx as nx

    graph = nx.DiGraph()
    ids = {}
    for k, row in enumerate(tracks.sort_values(["frame", "label"]).to_dict("records")):
        ids[row["frame"], row["label"]] = k
        graph.add_node(
            k, t=int(row["frame"]), y=float(row["y_px"]), x=float(row["x_px"]), label=int(row["label"]),
            track_id=int(row["track_id"]), area_px2=int(row["area_px2"]),
        )  # fmt: skip
    for edge in edges_of(tracks).to_dict("records"):
        cost = edge["link_cost"]
        graph.add_edge(
            ids[edge["frame"], edge["label"]], ids[edge["to_frame"], edge["to_label"]],
            link_cost=0.0 if np.isnan(cost) else float(cost), division=bool(np.isnan(cost)),
        )  # fmt: skip
    if path.exists():
        shutil.rmtree(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's words about its own formats
        geff.write(
            graph, path, axis_names=["t", "y", "x"], axis_types=["time", "space", "space"],
            axis_units=["frame", "pixel", "pixel"], axis_scales=[interval_s or 1.0, pixel, pixel],
            scaled_units=["second" if interval_s else "frame", unit or "pixel", unit or "pixel"],
        )  # fmt: skip
