"""A small experiment on disk, how results folders are compared, and ROIs as people draw them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from bridge.images.label_images import write_labels
from bridge.synthetic import synthetic_field
from bridge.tables import cell_columns


def make_experiment(folder: Path) -> Path:
    """Two conditions, two replicates, small synthetic fields with phase, EdU and TO-PRO-3; `masks` beside it."""
    for i, condition in enumerate(("DMSO", "Drug")):
        for j, replicate in enumerate(("day1", "day2")):
            field = synthetic_field(seed=40 + 2 * i + j, size_px=160, n_cells=8, positive_share=0.5 - 0.4 * i)
            write_labels(folder.parent / "masks" / f"{condition}_{replicate}_f1_mask.tif", field.cells)
            for channel, pixels in (("phase", field.phase), ("EdU", field.edu), ("TO-PRO-3", field.topro)):
                path = folder / condition / replicate / f"f1_{channel}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(
                    path, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "YX", "unit": "um"}
                )
    return folder


def given(experiment: Path) -> dict[str, object]:
    """Settings that take the true label images instead of running Cellpose."""
    return {"masks": experiment.parent / "masks", "count": "none", "edu_threshold": ["300"]}


DEMO = {"model": "demo", "diameter": 37.0, "count_model": "demo", "count_diameter": 24.0, "device": "cpu", "edu_threshold": ["300"]}  # fmt: skip


def tree(folder: Path, skip: tuple[str, ...] = ("run.json",)) -> dict[str, bytes]:
    """Every file of a results folder; records hold no times (but what this computer saw), so whole trees can be compared."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in skip and not path.name.startswith(".") and path.parent.name != "_seen"
    }


def hand_drawn(seed: int, n: int, shape: tuple[int, int]) -> Iterator[dict[str, bytes]]:
    """ROI sets as people draw them, one of each kind: file name -> bytes of the ROI."""
    rng = np.random.default_rng(seed)
    high = np.array([shape[1], shape[0]])

    def blob(fraction: bool) -> np.ndarray:
        n_corners = int(rng.integers(3, 40))
        angle = np.sort(rng.uniform(0, 2 * np.pi, n_corners))
        if rng.random() < 0.3:
            rng.shuffle(angle)  # sides that cross
        radius = rng.uniform(3, 25) * rng.uniform(0.5, 1.5, n_corners)
        points = rng.uniform(10, high - 10) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return points.astype(np.float32) if fraction else np.rint(points).astype(np.int32)

    def box() -> dict[str, int]:
        left, top = rng.integers(-5, high - 12).tolist()
        return {
            "left": left, "top": top, "right": left + int(rng.integers(6, 40)), "bottom": top + int(rng.integers(6, 40))
        }  # fmt: skip

    def polygon(kind: ROI_TYPE, fraction: bool) -> ImagejRoi:
        points = blob(fraction)
        low = np.floor(points.min(axis=0)).astype(int)
        top = np.ceil(points.max(axis=0)).astype(int)
        corners = (points - low).astype(np.int32)
        options = ROI_OPTIONS.SUB_PIXEL_RESOLUTION if fraction else ROI_OPTIONS(0)
        return ImagejRoi(
            roitype=kind, n_coordinates=len(points), integer_coordinates=corners, left=int(low[0]), top=int(low[1]),
            right=int(top[0]), bottom=int(top[1]), options=options, subpixel_coordinates=points if fraction else None,
        )  # fmt: skip

    def composite() -> ImagejRoi:
        path: list[float] = []
        for _ in range(int(rng.integers(1, 4))):
            points = blob(True)
            path += [0, *points[0]]
            i = 1
            while i < len(points):
                order = min(int(rng.integers(1, 4)), len(points) - i)  # a line, a quadratic or a cubic curve
                path += [order, *points[i : i + order].ravel()]
                i += order
            path.append(4)
        array = np.array(path, np.float32)
        return ImagejRoi(
            roitype=ROI_TYPE.RECT, multi_coordinates=array, shape_roi_size=array.size, left=0, top=0, right=9, bottom=9
        )

    def fractional(kind: ROI_TYPE) -> ImagejRoi:
        sides = box()
        roi = ImagejRoi(roitype=kind, options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION, **sides)
        roi.xd, roi.yd = abs(sides["left"]) + 0.25, abs(sides["top"]) + 0.75
        roi.widthd, roi.heightd = float(rng.uniform(6, 40)), float(rng.uniform(6, 40))
        return roi

    def by_axis(subtype: ROI_SUBTYPE) -> ImagejRoi:
        roi = ImagejRoi(roitype=ROI_TYPE.FREEHAND, subtype=subtype, n_coordinates=4, **box())
        roi.integer_coordinates = np.array([[0, 0], [5, 0], [5, 5], [0, 5]], np.int32)
        content = bytearray(roi.tobytes())
        x1, y1, x2, y2 = rng.uniform(20, 100, 4)
        content[18:34] = struct.pack(">4f", x1, y1, x2, y2)
        content[52:56] = struct.pack(
            ">f", rng.uniform(0.3, 1) if subtype == ROI_SUBTYPE.ELLIPSE else rng.uniform(5, 30)
        )
        return ImagejRoi.frombytes(bytes(content))

    kinds: list[Callable[[], ImagejRoi]] = [
        lambda: polygon(ROI_TYPE.POLYGON, False),
        lambda: polygon(ROI_TYPE.FREEHAND, False),
        lambda: polygon(ROI_TYPE.POLYGON, True),
        lambda: polygon(ROI_TYPE.FREEHAND, True),
        lambda: ImagejRoi(roitype=ROI_TYPE.RECT, **box()),
        lambda: ImagejRoi(roitype=ROI_TYPE.RECT, rounded_rect_arc_size=int(rng.integers(2, 30)), **box()),
        lambda: ImagejRoi(roitype=ROI_TYPE.OVAL, **box()),
        lambda: fractional(ROI_TYPE.RECT),
        lambda: fractional(ROI_TYPE.OVAL),
        lambda: by_axis(ROI_SUBTYPE.ELLIPSE),
        lambda: by_axis(ROI_SUBTYPE.ROTATED_RECT),
        composite,
    ]
    for kind in kinds:
        drawn = {}
        for i in range(n):
            roi = kind()
            roi.name = f"cell {i}"
            drawn[f"cell {i}.roi"] = roi.tobytes()
        yield drawn


def zipped(rois: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Put ROIs into a zip, as the ROI Manager does."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", how) as archive:
        for name, roi in rois.items():
            archive.writestr(name, roi)
    return content.getvalue()


def make_pairs(folder: Path, n: int, size_px: int = 160, n_cells: int = 7, seed: int = 800) -> Path:
    folder.mkdir(parents=True)
    for k in range(n):
        field = synthetic_field(seed=seed + k, size_px=size_px, n_cells=n_cells)
        tifffile.imwrite(folder / f"f{k}.tif", field.phase)
        write_labels(folder / f"f{k}_mask.tif", field.cells)
    return folder


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width


CELL_COLUMNS = cell_columns(["EdU"], ["area", "mean"])
CONDITIONS = ("DMSO", "=Drug & <b>", "none")
