"""Outlines of QuPath and of Cellpose: written, and read as exactly as they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import bridge
from bridge.errors import RoiError
from bridge.imagej.fiji import FijiEngine
from bridge.images.label_images import read_labels
from bridge.names import image_name
from bridge.rois.geojson import decode_geojson, encode_geojson
from bridge.rois.roiset import decode_roiset, verify_roiset
from bridge.synthetic import synthetic_field


@settings(max_examples=300, deadline=None)
@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_geojson_is_exact_and_valid(labels: np.ndarray) -> None:
    content = encode_geojson(labels, "a")
    verify_roiset(decode_roiset(content, labels.shape), labels)
    for feature in json.loads(content)["features"]:
        geometry = feature["geometry"]
        polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        assert (len(polygons) > 1) == (geometry["type"] == "MultiPolygon")
        pixels = [inside(polygon, labels.shape) for polygon in polygons]
        for polygon, mask in zip(polygons, pixels, strict=True):
            outer, *holes = map(area, polygon)
            # Outer rings all turn one way, holes the other; no ring passes a point twice.
            assert outer * area(polygons[0][0]) > 0
            assert all(hole * outer < 0 for hole in holes)
            assert abs(outer) - sum(map(abs, holes)) == mask.sum()
            for ring in polygon:
                assert ring[0] == ring[-1]
                assert len(set(map(tuple, ring[:-1]))) == len(ring) - 1
            assert one_part(mask)
        label = int(feature["properties"]["name"])
        np.testing.assert_array_equal(sum(pixels), labels == label)  # disjoint, and nothing is missing


def area(ring: list[list[int]]) -> float:
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2


def inside(polygon: list[list[list[int]]], shape: tuple[int, ...]) -> np.ndarray:
    from matplotlib.path import Path as Outline

    y, x = np.indices(shape)
    centres = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
    odd = np.zeros(x.size, np.int64)
    for ring in polygon:
        odd += Outline(ring).contains_points(centres)
    return (odd % 2).reshape(shape)


def one_part(mask: np.ndarray) -> bool:
    from scipy.ndimage import label

    return bool(label(mask)[1] == 1)


def test_to_qupath_and_back(tmp_path: Path) -> None:
    field = synthetic_field(seed=2, size_px=160, n_cells=6)
    labels = field.cells.copy()
    labels[40:60, 40:60] = 900
    tifffile.imwrite(tmp_path / "f1_mask.tif", labels)
    path = bridge.trace(tmp_path / "f1_mask.tif", tmp_path / "out", program="qupath")
    assert path.name == "f1.geojson"
    assert path.read_bytes() == encode_geojson(labels, "f1")
    first = json.loads(path.read_text())["features"][0]
    assert first["properties"] == {"objectType": "detection", "name": f"{labels[labels > 0].min():05d}"}
    back = bridge.rasterize(path, tmp_path / "f1_mask.tif", tmp_path / "back")
    np.testing.assert_array_equal(read_labels(back), labels)
    assert not any(row.different_px for row in bridge.compare(path, bridge.trace(back, tmp_path / "zip")))


def test_objects_drawn_in_qupath(imagej: FijiEngine) -> None:
    """Fractional corners, a hole, a name: ImageJ selects the same pixels of the ROIs that are made of them."""
    drawn: Any = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[2.5, 3.25], [30.2, 4.5], [20.7, 31.1], [2.5, 3.25]]]},
         "properties": {"objectType": "annotation", "name": "Zelle 1"}},
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [
            [[[40, 40], [60.5, 40], [60.5, 60], [40, 60], [40, 40]], [[45, 45], [50.5, 45], [50.5, 50], [45, 45]]], [[[70, 1], [75, 1], [75, 9], [70, 1]]]
        ]}, "properties": {"name": "Zelle 2"}},
    ]  # fmt: skip
    image = np.arange(80 * 90, dtype=np.uint16).reshape(80, 90)
    for whole in (drawn, {"type": "FeatureCollection", "features": drawn}):
        found = decode_roiset(json.dumps(whole).encode(), image.shape)
        assert found.names == ("Zelle 1", "Zelle 2")
        measured = imagej.measure(image, found, "a.tif", None, measurements=("area", "integrated")).columns
        expected = [sum(image[row, left:right].sum() for row, left, right in spans(found, k)) for k in range(2)]
        assert measured["RawIntDen"].tolist() == expected
        assert measured["Area"].tolist() == found.area_px.tolist()
    assert found.area_px[1] == 21 * 20 - 15 + 20  # a centre on the right side is inside
    single = decode_geojson(json.dumps(drawn[0]["geometry"]).encode(), "a")
    assert [polygon.name for polygon in single] == ["00001"]


def spans(found: Any, k: int) -> list[tuple[int, int, int]]:
    runs = slice(found.first[k], found.first[k + 1])
    return list(zip(found.row[runs].tolist(), found.left[runs].tolist(), found.right[runs].tolist(), strict=True))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"type": "FeatureCollection"}', "a: not GeoJSON of objects ('features'). Export the objects from QuPath again."),
        (b"{", "a: not GeoJSON of objects (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)). Export the objects from QuPath again."),
        (b'[{"geometry": {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}}]',
         "a: object 1 is no area (got LineString, expected Polygon or MultiPolygon). Export areas alone."),
        (b'[{"geometry": {"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}}]',
         "a: not GeoJSON of objects (object 1 has a ring of fewer than 3 points, or of none). Export the objects from QuPath again."),
        (b"1,2,3\n", "a: line 1 is no outline of Cellpose (got '1,2,3', expected x,y,x,y ...). Save the outlines again."),
        (b"1,2,99999,3\n", "a: line 1 lies outside of any image (got 99999, expected less than 60000). Save the outlines again."),
    ],
)  # fmt: skip
def test_what_is_no_outline(content: bytes, text: str) -> None:
    with pytest.raises(RoiError) as refused:
        decode_roiset(content, (10, 10), "a")
    assert str(refused.value) == text


def test_outlines_that_cellpose_saved(tmp_path: Path) -> None:
    from cellpose.io import outlines_to_text
    from cellpose.utils import outlines_list

    field = synthetic_field(seed=3, size_px=200, n_cells=8)
    labels = field.cells.copy()
    labels[0, 0] = labels.max() + 1  # too small for Cellpose's outlines: an empty line
    outlines_to_text(str(tmp_path / "f1"), outlines_list(labels, multiprocessing=False))
    path = tmp_path / "f1_cp_outlines.txt"
    assert image_name(path) == "f1"
    tifffile.imwrite(tmp_path / "f1.tif", field.phase)
    mask = bridge.rasterize(path, tmp_path / "f1.tif", tmp_path / "out")
    labels[0, 0] = 0
    np.testing.assert_array_equal(read_labels(mask), labels)
