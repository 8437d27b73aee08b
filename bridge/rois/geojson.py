"""GeoJSON as QuPath reads and writes it: label images to objects, and objects to ImageJ's ROIs."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import RoiError
from bridge.labels import Labels, label_ids
from bridge.names import roi_name
from bridge.rois.polygons import Polygon
from bridge.rois.trace import trace_rings

_Ring = list[list[int]]


def encode_geojson(labels: Labels, name: str) -> bytes:
    """Write one QuPath detection for each label, along pixel edges.

    Rings do not touch themselves and no polygon hangs together by a corner alone, as the standard asks (OGC simple
    features; QuPath's JTS refuses or repairs what breaks it). Pixels of a label that touch at a corner become parts of
    a MultiPolygon.

    Parameters
    ----------
    labels : ndarray of uint8, uint16 or uint32, shape (Y, X)
    name : str
        Of the image: the objects' identifiers are made of it and of the label, so that they stay the same.

    Returns
    -------
    bytes
        A FeatureCollection in px; read again, each object selects exactly its label's pixels.

    Examples
    --------
    >>> content = json.loads(encode_geojson(np.array([[0, 5]], np.uint16), "a"))
    >>> content["features"][0]["geometry"]
    {'type': 'Polygon', 'coordinates': [[[2, 0], [2, 1], [1, 1], [1, 0], [2, 0]]]}
    """
    parts, owner = _edge_connected(labels)
    polygons: dict[int, list[list[_Ring]]] = {int(label): [] for label in label_ids(labels)}
    rings = trace_rings(parts)
    corners = np.stack([rings.x, rings.y], axis=1)
    part = 0
    for k, ring_label in enumerate(rings.label.tolist()):
        ring = corners[rings.start[k] : rings.start[k + 1]].tolist()
        ring.append(ring[0])
        # The first ring that a scan meets is the outer one.
        if ring_label != part:
            polygons[int(owner[ring_label])].append([])
            part = ring_label
        polygons[int(owner[ring_label])][-1].append(ring)
    space = uuid.uuid5(uuid.NAMESPACE_URL, name)
    features = [_feature(label, of_label, uuid.uuid5(space, str(label))) for label, of_label in polygons.items()]
    return json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":")).encode()


def _edge_connected(labels: Labels) -> tuple[npt.NDArray[np.uint32], npt.NDArray[Any]]:
    """Number the parts that hang together by pixel edges; return them, and the label of each number."""
    from skimage.measure import label

    parts = label(labels, connectivity=1, background=0).astype(np.uint32)
    owner = np.zeros(int(parts.max(initial=0)) + 1, labels.dtype)
    owner[parts.ravel()] = labels.ravel()
    return parts, owner


def _feature(label: int, polygons: list[list[_Ring]], identifier: uuid.UUID) -> dict[str, Any]:
    single = len(polygons) == 1
    return {
        "type": "Feature",
        "id": str(identifier),
        "geometry": {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": polygons[0] if single else polygons,
        },
        "properties": {"objectType": "detection", "name": roi_name(label)},
    }


def decode_geojson(content: bytes, name: str) -> list[Polygon]:
    """Read the objects of a GeoJSON file, with the names they have there, else numbered from 1.

    Parameters
    ----------
    content : bytes
        A FeatureCollection, a list of features, a feature or a geometry; coordinates in px.
    name : str
        Named in messages.

    Returns
    -------
    list of Polygon

    Raises
    ------
    RoiError
        Not GeoJSON, or an object that is no area (a line or a point).
    """
    try:
        whole = json.loads(content)
        features = _features(whole)
        found = [_polygon(feature, k, name) for k, feature in enumerate(features, 1)]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise RoiError(f"{name}: not GeoJSON of objects ({error}). Export the objects from QuPath again.") from error
    if len({polygon.name for polygon in found}) < len(found) or not all(polygon.name for polygon in found):
        found = [Polygon(roi_name(k), polygon.rings) for k, polygon in enumerate(found, 1)]
    return found


def _features(whole: Any) -> list[Any]:
    if isinstance(whole, list):
        return whole
    if whole["type"] == "FeatureCollection":
        return list(whole["features"])
    return [whole if whole["type"] == "Feature" else {"geometry": whole}]


def _polygon(feature: Any, place: int, name: str) -> Polygon:
    geometry = feature["geometry"]
    kind = geometry["type"]
    if kind not in ("Polygon", "MultiPolygon"):
        raise RoiError(
            f"{name}: object {place} is no area (got {str(kind)[:40]}, expected Polygon or MultiPolygon). Export areas alone."
        )
    polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    rings = [np.array(ring, np.float64)[:, :2] for polygon in polygons for ring in polygon]
    # The last point of a ring is the first once more.
    rings = [ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring for ring in rings]
    if not rings or any(len(ring) < 3 or not np.isfinite(ring).all() for ring in rings):
        raise ValueError(f"object {place} has a ring of fewer than 3 points, or of none")
    return Polygon(str((feature.get("properties") or {}).get("name") or ""), rings)
