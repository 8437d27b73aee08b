"""A first look before the long run: one field, several models and diameters, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bridge.errors import InputError
from bridge.experiment.fields import Field, Plan
from bridge.files import require_writable
from bridge.grey_scale import display_range
from bridge.images.reader import read_plane
from bridge.labels import label_areas, touches_border
from bridge.names import number
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.steps.network import predict_cells, predict_nuclei
from bridge.report.preview_sheet import Panel, preview_sheet
from bridge.settings import Settings
from bridge.settings_file import settings_from
from bridge.tables import Column, typed_table

if TYPE_CHECKING:
    import pandas as pd

    from bridge.images.image import Plane
    from bridge.segmentation.kept import Segmented
    from bridge.segmentation.segmenter import Segmenter

PREVIEW = (
    Column("model", "str", "", "Cellpose model"),
    Column("asked", "str", "", "diameter that was asked for"),
    Column("diameter_px", "float64", "px", "diameter that the network was given; empty where it takes none"),
    Column("cellprob_threshold", "float64", "", "cell probability threshold"),
    Column("n_cells", "int64", "", "cells found"),
    Column("median_diameter_px", "float64", "px", "of a circle of the median cell's area; empty without cells"),
    Column("touch_border", "int64", "", "cells cut by the edge"),
)
_MOST_PX = 1024


@dataclass(frozen=True)
class Previewed:
    """What a preview found.

    Attributes
    ----------
    picture : Path
    field_id : str
    table : DataFrame
        `PREVIEW`: a row for each panel.
    """

    picture: Path
    field_id: str
    table: pd.DataFrame


def preview(
    images: Path | str,
    out: Path | str = "preview.png",
    field: str | None = None,
    diameters: Sequence[float | str] = (),
    models: Sequence[str] = (),
    cellprob_thresholds: Sequence[float] = (),
    nuclei: bool = False,
    settings: Settings | None = None,
    say: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Previewed:
    """Outline the cells of one field with several models and diameters.

    Parameters
    ----------
    images : Path or str
        As for `bridge.run`.
    out : Path or str
        ``*.png``; replaced where it is there.
    field : str, optional
        A ``field_id``. Default: the one in the middle of the first condition.
    diameters : sequence of float or str
        In px; ``own`` is the model's own, ``auto`` the median that is found. Default: two thirds, once and one and a
        half times the model's own, and ``auto``.
    models : sequence of str
        As ``model`` of `bridge.run`. Default: that of the settings.
    cellprob_thresholds : sequence of float
        Several of one look of the network each. Default: that of the settings.
    nuclei : bool
        Look at the nuclei instead of the cells.
    settings : Settings, optional
        Or give the options by name.
    say : callable
        Called with a line for each panel.

    Returns
    -------
    Previewed

    Raises
    ------
    InputError
        No such field, or no channel of nuclei.

    Examples
    --------
    >>> import bridge
    >>> bridge.preview("images", "look.png", diameters=[30, 60, 90])                     # doctest: +SKIP
    """
    from bridge.segmentation.segmenter import Segmenter

    s = settings or settings_from(options, "preview")
    plan, out = make_plan(Path(images), s), Path(out)
    if out.suffix.lower() != ".png":
        raise InputError(f"{out}: not a PNG (expected a name that ends in .png). Correct --out.")
    require_writable(out.parent)
    item = _field(plan, field)
    plane = _middle(_plane(plan, item, s, nuclei))
    default = s.nuclei_model if nuclei else s.model
    panels: list[Panel] = []
    rows: list[dict[str, Any]] = []
    names: Sequence[str | None] = list(models) or [default]
    for name in names:
        segmenter = Segmenter(_resolved(name, nuclei), s.device, s.inference, s.precision)
        for asked in diameters or _around(segmenter):
            finish = _predicted(segmenter, plane, asked, s, item.field_id, nuclei)
            for threshold in cellprob_thresholds or (s.cellprob_threshold,):
                found = finish(None, threshold)
                rows.append(_row(segmenter.model.name, str(asked), threshold, found))
                panels.append(_panel(rows[-1], found, item, len(cellprob_thresholds) > 1))
                say(f"{panels[-1].title}: {panels[-1].found}")
    pixel_um = item.pixel_size_um
    preview_sheet(out, plane.pixels, display_range([plane.pixels]), panels, pixel_um)
    return Previewed(out, item.field_id, typed_table(rows, PREVIEW))


def _field(plan: Plan, wanted: str | None) -> Field:
    usable = [item for item in plan.fields if not item.problems]
    if not usable:
        raise InputError(f"{plan.images}: not one field can be looked at (got {len(plan.fields)}, each with a problem). See: cellpose-fiji plan")  # fmt: skip
    if wanted is None:
        first = [item for item in usable if item.condition == usable[0].condition]
        return first[len(first) // 2]
    found = [item for item in usable if item.field_id == wanted]
    if not found:
        names = ", ".join(item.field_id for item in usable[:5])
        raise InputError(f"--field {wanted}: no such field, or one with a problem (expected one of {names}{', ...' if len(usable) > 5 else ''}). Look at: cellpose-fiji plan")  # fmt: skip
    return found[0]


def _plane(plan: Plan, item: Field, s: Settings, nuclei: bool) -> Plane:
    file = item.count if nuclei else item.segment
    if file is None:
        what, flag = ("nuclei", "--count") if nuclei else ("cells", "--segment")
        raise InputError(f"{plan.images}: no channel with {what} to look at (expected one). Name it with {flag}.")
    return read_plane(file, s.rgb_channel, nuclei, None if nuclei else s.colour)


def _middle(plane: Plane) -> Plane:
    """Return the middle of a large image: a look is to be quick."""
    height, width = plane.pixels.shape
    top, left = max(0, (height - _MOST_PX) // 2), max(0, (width - _MOST_PX) // 2)
    window = (..., slice(top, top + _MOST_PX), slice(left, left + _MOST_PX))
    planes = plane.planes
    return replace(
        plane,
        pixels=np.ascontiguousarray(plane.pixels[window]),
        planes=None if planes is None else np.ascontiguousarray(planes[window]),
    )


def _resolved(name: str | None, nuclei: bool) -> Any:
    from bridge.segmentation.models import resolve_model

    return resolve_model(name, nuclei)


def _around(segmenter: Segmenter) -> list[float | str]:
    own = segmenter.own_diameter_px
    return ["own", "auto"] if own is None else [round(own * 2 / 3), "own", round(own * 1.5), "auto"]


def _predicted(
    segmenter: Segmenter, plane: Plane, asked: float | str, s: Settings, name: str, nuclei: bool
) -> Callable[[float | None, float | None], Segmented]:
    diameter: float | Literal["auto", "style"] | None
    if asked in ("auto", "style"):
        diameter = "auto" if asked == "auto" else "style"
    else:
        try:
            diameter = None if asked == "own" else float(asked)
        except ValueError:
            diameter = -1.0
        if diameter is not None and not diameter > 0:
            raise InputError(f"--diameters {asked}: not a diameter (expected px, own, auto or style). Correct it.")
    if nuclei:
        return predict_nuclei(segmenter, plane, replace(s, count_diameter=diameter), name)
    return predict_cells(segmenter, plane, replace(s, diameter=diameter), name)


def _row(model: str, asked: str, threshold: float, found: Segmented) -> dict[str, Any]:
    areas = label_areas(found.labels)[1:]
    areas = areas[areas > 0]
    return {
        "model": model, "asked": asked, "diameter_px": found.diameter_px, "cellprob_threshold": threshold, "n_cells": areas.size,
        "median_diameter_px": 2 * float(np.sqrt(np.median(areas) / np.pi)) if areas.size else None,
        "touch_border": int(np.count_nonzero(touches_border(found.labels)[1:])),
    }  # fmt: skip


def _panel(row: dict[str, Any], found: Segmented, item: Field, several: bool) -> Panel:
    size = "" if row["diameter_px"] is None else f"diameter {row['diameter_px']:.0f} px"
    words = {"own": "the model's own", "auto": "as found"}.get(row["asked"])
    size += f" ({words})" if words and size else ""
    title = ", ".join(filter(None, (row["model"], size, f"cell probability {row['cellprob_threshold']:g}" if several else "")))  # fmt: skip
    median = row["median_diameter_px"]
    um = f", {median * item.pixel_size_um:.0f} µm" if median and item.pixel_size_um else ""
    across = f", the median one {median:.0f} px across{um}" if median else ""
    return Panel(title, f"{number(row['n_cells'], 'cell')}{across}", found.labels)
