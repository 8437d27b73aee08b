"""TrackMate's XML file: written so that its reader takes it, and the links of an edited one read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.errors import InputError
from bridge.files import write_bytes

_VERSION = "7.14.0"
_SPOT = (
    ("QUALITY", "Quality", "QUALITY", False),
    ("POSITION_X", "X", "POSITION", False),
    ("POSITION_Y", "Y", "POSITION", False),
    ("POSITION_Z", "Z", "POSITION", False),
    ("POSITION_T", "T", "TIME", False),
    ("FRAME", "Frame", "NONE", True),
    ("RADIUS", "Radius", "LENGTH", False),
    ("VISIBILITY", "Visibility", "NONE", True),
    ("LABEL", "Label", "NONE", True),
    ("TRACK", "Track of this program", "NONE", True),
)
_EDGE = (
    ("SPOT_SOURCE_ID", "Source spot ID", "NONE", True),
    ("SPOT_TARGET_ID", "Target spot ID", "NONE", True),
    ("LINK_COST", "Link cost", "COST", False),
)
_TRACK = (("TRACK_INDEX", "Track index", "NONE", True), ("TRACK_ID", "Track ID", "NONE", True))


def write_trackmate(
    path: Path,
    tracks: pd.DataFrame,
    outlines: Mapping[tuple[int, int], npt.NDArray[np.float64]],
    measures: pd.DataFrame,
    image: Path | None,
    shape: tuple[int, int],
    pixel: float,
    unit: str,
    interval: float | None,
) -> None:
    """Write the tracks of one series as TrackMate's XML.

    A Track there is a whole lineage; a cell that is in no link is a spot only. Our numbers are features of the spots.

    Parameters
    ----------
    path : Path
    tracks : DataFrame
        `bridge.tracking.tables.TRACKS` of one series.
    outlines : mapping of (frame, label) to ndarray of float64, shape (n, 2)
        (x, y) of the pixel corners around a cell, in px; left out where it has holes or parts.
    measures : DataFrame
        By ``frame, label`` (index): numbers that become features; may have no column.
    image : Path or None
        The image of the series.
    shape : (int, int)
        Height and width in px.
    pixel : float
        Side of a pixel.
    unit : str
        Of length.
    interval : float or None
        Seconds from one frame to the next.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    root = ElementTree.Element("TrackMate", version=_VERSION)
    model = ElementTree.SubElement(root, "Model", spatialunits=unit, timeunits="sec" if interval else "frame")
    own = {f"M{k}": str(name) for k, name in enumerate(measures.columns)}
    features = ElementTree.SubElement(model, "FeatureDeclarations")
    for kind, declared in (("SpotFeatures", [*_SPOT, *((key, name, "NONE", False) for key, name in own.items())]), ("EdgeFeatures", _EDGE), ("TrackFeatures", _TRACK)):  # fmt: skip
        group = ElementTree.SubElement(features, kind)
        for key, name, dimension, whole in declared:
            ElementTree.SubElement(
                group, "Feature", feature=key, name=name, shortname=name, dimension=dimension, isint=str(whole).lower()
            )
    ids = _spots(model, tracks, outlines, measures, list(own), pixel, interval or 1.0)
    _tracks(model, tracks, ids)
    settings = ElementTree.SubElement(root, "Settings")
    n = int(tracks["frame"].max()) + 1 if len(tracks) else 1
    ElementTree.SubElement(
        settings, "ImageData", filename=image.name if image else "", folder=f"{image.parent}/" if image else "",
        width=str(shape[1]), height=str(shape[0]), nslices="1", nframes=str(n), pixelwidth=repr(pixel),
        pixelheight=repr(pixel), voxeldepth="1.0", timeinterval=repr(interval or 1.0),
    )  # fmt: skip
    ElementTree.SubElement(
        settings, "BasicSettings", xstart="0", xend=str(shape[1] - 1), ystart="0", yend=str(shape[0] - 1), zstart="0",
        zend="0", tstart="0", tend=str(n - 1),
    )  # fmt: skip
    ElementTree.SubElement(root, "GUIState", state="ConfigureViews")
    content = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    write_bytes(path, content)


def _spots(
    model: Any, tracks: pd.DataFrame, outlines: Mapping[Any, Any], measures: pd.DataFrame, own: Sequence[str],
    pixel: float, interval: float,
) -> dict[tuple[int, int], int]:  # fmt: skip
    group = ElementTree.SubElement(model, "AllSpots", nspots=str(len(tracks)))
    ids: dict[tuple[int, int], int] = {}
    values = measures.to_dict("index")
    for frame in sorted(set(tracks["frame"].tolist())):
        part = tracks[tracks["frame"] == frame]
        of_frame = ElementTree.SubElement(group, "SpotsInFrame", frame=str(frame))
        for row in part.sort_values("label").to_dict("records"):
            key = int(row["frame"]), int(row["label"])
            ids[key] = len(ids)
            spot = ElementTree.SubElement(
                of_frame, "Spot", ID=str(ids[key]), name=f"{row['track_id']:05d}", QUALITY="1.0", VISIBILITY="1",
                POSITION_X=repr(row["x_px"] * pixel), POSITION_Y=repr(row["y_px"] * pixel), POSITION_Z="0.0",
                POSITION_T=repr(frame * interval), FRAME=str(frame), LABEL=str(key[1]), TRACK=str(row["track_id"]),
                RADIUS=repr(float(np.sqrt(row["area_px2"] / np.pi) * pixel)),
            )  # fmt: skip
            for name, value in zip(own, values.get(key, {}).values(), strict=False):
                if np.isfinite(value):
                    spot.set(name, repr(float(value)))
            outline = outlines.get(key)
            if outline is not None and len(outline) > 2:
                spot.set("ROI_N_POINTS", str(len(outline)))
                # Around the spot's own place; no blank may stand before the first number.
                around = (outline - (row["x_px"], row["y_px"])) * pixel
                spot.text = " ".join(repr(float(v)) for v in around.ravel())
    return ids


def edges_of(tracks: pd.DataFrame) -> pd.DataFrame:
    """Return the links of tracks, divisions included: ``frame, label, to_frame, to_label, link_cost, lineage_id``."""
    ordered = tracks.sort_values(["track_id", "frame"], kind="stable").reset_index(drop=True)
    before = ordered.shift()
    same = ordered["track_id"] == before["track_id"]
    links = pd.DataFrame({"frame": before["frame"], "label": before["label"], "to_frame": ordered["frame"], "to_label": ordered["label"], "link_cost": ordered["link_cost"], "lineage_id": ordered["lineage_id"]})[same]  # fmt: skip
    last = ordered.groupby("track_id").last()
    born = ordered[(~same) & (ordered["parent_track_id"] > 0)]
    mothers = last.loc[born["parent_track_id"]]
    divided = pd.DataFrame({"frame": mothers["frame"].to_numpy(), "label": mothers["label"].to_numpy(), "to_frame": born["frame"].to_numpy(), "to_label": born["label"].to_numpy(), "link_cost": np.nan, "lineage_id": born["lineage_id"].to_numpy()})  # fmt: skip
    found = pd.concat([part for part in (links, divided) if len(part)] or [links], ignore_index=True)
    names = ["frame", "label", "to_frame", "to_label", "lineage_id"]
    return found.astype(dict.fromkeys(names, np.int64)).sort_values(names, ignore_index=True)


def _tracks(model: Any, tracks: pd.DataFrame, ids: Mapping[tuple[int, int], int]) -> None:
    edges = edges_of(tracks)
    group = ElementTree.SubElement(model, "AllTracks")
    kept = ElementTree.SubElement(model, "FilteredTracks")
    for k, (lineage, part) in enumerate(edges.groupby("lineage_id", sort=True)):
        track = ElementTree.SubElement(group, "Track", name=f"Track_{lineage}", TRACK_ID=str(k), TRACK_INDEX=str(k))
        for row in part.to_dict("records"):
            cost = 0.0 if np.isnan(row["link_cost"]) else row["link_cost"]
            ElementTree.SubElement(
                track, "Edge", SPOT_SOURCE_ID=str(ids[row["frame"], row["label"]]),
                SPOT_TARGET_ID=str(ids[row["to_frame"], row["to_label"]]), LINK_COST=repr(float(cost)),
            )  # fmt: skip
        ElementTree.SubElement(kept, "TrackID", TRACK_ID=str(k))


def read_trackmate(path: Path) -> pd.DataFrame:
    """Read the links of a TrackMate file that this program wrote and a person edited.

    Returns
    -------
    DataFrame
        ``frame, label, to_frame, to_label``; spots that have no LABEL, drawn in TrackMate, are in no label image: their
        links are left out.

    Raises
    ------
    InputError
        Not a TrackMate file, or links of unknown spots.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
        if root.tag != "TrackMate":
            raise ValueError(f"the root is {root.tag}")
        spots = {
            spot.attrib["ID"]: (round(float(spot.attrib["FRAME"])), round(float(spot.attrib.get("LABEL", "0"))))
            for spot in root.iter("Spot")
        }
        rows = [
            (*spots[edge.attrib["SPOT_SOURCE_ID"]], *spots[edge.attrib["SPOT_TARGET_ID"]]) for edge in root.iter("Edge")
        ]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file (expected a TrackMate XML). Check the path.") from None
    except (ElementTree.ParseError, ValueError, KeyError, OverflowError) as error:
        what = f"no spot or attribute {error}" if isinstance(error, KeyError) else str(error)[:120]
        raise InputError(f"{path}: not a TrackMate file ({what}). Save it from TrackMate again.") from None
    ordered = [row if row[0] < row[2] else (*row[2:], *row[:2]) for row in rows if row[1] and row[3]]
    return pd.DataFrame(sorted(set(ordered)), columns=["frame", "label", "to_frame", "to_label"], dtype=np.int64)
