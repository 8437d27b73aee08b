"""A series of label images -> tracks, with gaps closed and divisions as candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.errors import LabelError
from bridge.labels import Labels
from bridge.tables import typed_table
from bridge.tracking.link import Cells, Floats, Ints, Links, cells_of, drift, link, overlaps
from bridge.tracking.tables import DIVISIONS, DRIFT, TRACKS
from bridge.tracking.track_settings import TrackSettings

_DRIFT_DIAMETERS = 3.0


class Followed(NamedTuple):
    """What a series became: `bridge.tracking.tables.TRACKS`, `DIVISIONS` and `DRIFT`."""

    tracks: pd.DataFrame
    divisions: pd.DataFrame
    drift: pd.DataFrame


@dataclass
class _Series:
    """All cells of a series in one row: frame after frame, label after label."""

    frames: list[Cells] = field(default_factory=list)
    links: list[Links] = field(default_factory=list)
    moved: list[tuple[float, float]] = field(default_factory=list)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        names = ("label", "area_px", "y_px", "x_px", "at_border")
        found: dict[str, npt.NDArray[Any]] = {
            name: np.concatenate([getattr(cells, name) for cells in self.frames]) for name in names
        }
        found["frame"] = np.repeat(np.arange(len(self.frames)), [len(cells.label) for cells in self.frames])
        return found


def follow(
    n_frames: int,
    labels_of: Callable[[int], Labels],
    settings: TrackSettings | None = None,
    series_id: str = "series",
    field_ids: Sequence[str] = (),
    edges: pd.DataFrame | None = None,
) -> Followed:
    """Follow the cells of a series.

    Only two label images are in memory at a time.

    Parameters
    ----------
    n_frames : int
        At least two.
    labels_of : callable
        Returns the label image of a frame, (Y, X) of unsigned int; ids of two frames have nothing to do with each other.
    settings : TrackSettings, optional
    series_id : str
    field_ids : sequence of str
        Of each frame, for the table.
    edges : DataFrame, optional
        Links that a person made: ``frame, label, to_frame, to_label``. They are taken as they are; a cell with two is a
        division. With a column ``weight`` they are a network's: gaps are closed, and its weights are the confidence.

    Returns
    -------
    Followed

    Raises
    ------
    LabelError
        One frame, frames of different sizes, or edited links that no tracks can have.

    Examples
    --------
    >>> one = np.zeros((40, 40), np.uint16)
    >>> one[5:15, 5:15], one[20:30, 22:32] = 1, 2
    >>> other = np.zeros_like(one)
    >>> other[6:16, 7:17], other[21:31, 22:32] = 9, 4
    >>> follow(2, [one, other].__getitem__).tracks[["frame", "label", "track_id"]].to_numpy().tolist()
    [[0, 1, 1], [0, 2, 2], [1, 4, 2], [1, 9, 1]]
    """
    s = settings or TrackSettings()
    if n_frames < 2:
        raise LabelError(f"{series_id}: one frame only (got {n_frames}, expected at least 2). There is nothing to follow.")  # fmt: skip
    series, reach = _linked(n_frames, labels_of, s, series_id)
    cells = series.arrays()
    after, before, cost = _joined(series, cells["frame"].size)
    if edges is not None:
        after[:], before[:] = -1, -1
        divided = _as_edited(cells, edges, after, before, cost, series_id)
        if "weight" in edges:
            _close_gaps(series, cells, after, before, cost, reach, s.gap_frames)
        for *_, daughter, _ in divided:
            before[daughter], cost[daughter] = -1, np.nan  # it begins here
        if "weight" in edges:
            divided = [division for division in divided if division[-1] >= s.division_confidence]
        return _tables(series, cells, after, before, cost, divided, series_id, list(field_ids))
    _close_gaps(series, cells, after, before, cost, reach, s.gap_frames)
    moved = np.cumsum([(0.0, 0.0), *series.moved], axis=0)
    places = np.column_stack([cells["y_px"], cells["x_px"]]) - moved[cells["frame"]]
    divided = _divisions(cells, places, after, before, reach, s, n_frames)
    return _tables(series, cells, after, before, cost, divided, series_id, list(field_ids))


def _linked(
    n_frames: int, labels_of: Callable[[int], Labels], s: TrackSettings, series_id: str
) -> tuple[_Series, float]:
    series, labels = _Series(), labels_of(0)
    first_shape = labels.shape
    series.frames.append(cells_of(labels))
    diameters: list[float] = []
    reach = s.max_move_px
    for k in range(1, n_frames):
        now = labels_of(k)
        if now.shape != first_shape:
            raise LabelError(f"{series_id}: frames of different sizes (got {now.shape[0]} x {now.shape[1]} px in frame {k}, expected {first_shape[0]} x {first_shape[1]}). Use frames of one size.")  # fmt: skip
        series.frames.append(cells_of(now))
        before, after = series.frames[-2:]
        if len(before.area_px):
            diameters.append(float(2 * np.sqrt(np.median(before.area_px) / np.pi)))
        diameter = float(np.median(diameters)) if diameters else 1.0
        move = s.max_move_px or diameter
        moved = drift(before, after, _DRIFT_DIAMETERS * diameter, diameter / 4) if s.drift else (0.0, 0.0)
        series.moved.append(moved)
        series.links.append(link(before, after, overlaps(labels, now, moved), moved, move))
        labels = now
    reach = s.max_move_px or (float(np.median(diameters)) if diameters else 1.0)
    return series, reach


def _joined(series: _Series, n: int) -> tuple[Ints, Ints, Floats]:
    """The cell after and before each cell, -1 for none, and the cost of the link from before."""
    after, before, cost = np.full(n, -1, np.int64), np.full(n, -1, np.int64), np.full(n, np.nan)
    start = np.cumsum([0, *(len(cells.label) for cells in series.frames)])
    for k, links in enumerate(series.links):
        a, b = start[k] + links.first, start[k + 1] + links.second
        after[a], before[b], cost[b] = b, a, links.cost
    return after, before, cost


def _as_edited(
    cells: dict[str, Any], edges: pd.DataFrame, after: Ints, before: Ints, cost: Floats, series_id: str
) -> list[tuple[int, int, int, float]]:
    """Take links as a person or a network made them; return the divisions among them."""
    at = {key: k for k, key in enumerate(zip(cells["frame"].tolist(), cells["label"].tolist(), strict=True))}
    cost[:] = np.nan
    daughters: dict[int, list[int]] = {}
    weight = {}
    told = edges if "weight" in edges else edges.assign(weight=1.0)
    for frame, label, to_frame, to_label, sure in told[["frame", "label", "to_frame", "to_label", "weight"]].itertuples(index=False):  # fmt: skip
        for key in ((frame, label), (to_frame, to_label)):
            if key not in at:
                raise LabelError(f"{series_id}: an edited link of a cell that is not there (got label {key[1]} in frame {key[0]}, expected one of its label image). Edit the tracks of these label images.")  # fmt: skip
        if to_frame <= frame:
            raise LabelError(f"{series_id}: an edited link that does not go forward in time (got frame {frame} to {to_frame}, expected a later one). Correct it.")  # fmt: skip
        one, other = at[frame, label], at[to_frame, to_label]
        if before[other] >= 0:
            raise LabelError(f"{series_id}: two edited links into one cell (got label {to_label} in frame {to_frame}, expected one). Cells divide, and never merge.")  # fmt: skip
        before[other], weight[other] = one, float(sure)
        if "weight" in edges:
            cost[other] = 1 - sure
        daughters.setdefault(one, []).append(other)
    divided = []
    for one, others in sorted(daughters.items()):
        if len(others) > 2:
            raise LabelError(f"{series_id}: a cell with {len(others)} edited links (got label {int(cells['label'][one])} in frame {int(cells['frame'][one])}, expected 1 or 2). Remove some.")  # fmt: skip
        surest, *rest = sorted(others, key=lambda k: (-weight[k], k))
        after[one] = surest
        divided += [(one, surest, other, weight[other]) for other in rest]
    return divided


def _close_gaps(
    series: _Series, cells: dict[str, Any], after: Ints, before: Ints, cost: Floats, reach: float, gap_frames: int
) -> None:
    """Join tracks that end to those that begin some frames later, the shortest gaps first."""
    moved = np.cumsum([(0.0, 0.0), *series.moved], axis=0)
    frame, last = cells["frame"], len(series.frames) - 1
    for gap in range(2, gap_frames + 2):
        for k in range(last - gap + 1):
            ends = np.flatnonzero((frame == k) & (after < 0))
            begins = np.flatnonzero((frame == k + gap) & (before < 0))
            if not ends.size or not begins.size:
                continue
            one, other = _some(cells, ends), _some(cells, begins)
            y, x = (moved[k + gap] - moved[k]).tolist()
            found = link(one, other, None, (y, x), reach)
            good = found.cost < 0.75  # of a link without overlap that lies well
            a, b = ends[found.first[good]], begins[found.second[good]]
            after[a], before[b], cost[b] = b, a, found.cost[good]


def _some(cells: dict[str, Any], at: Ints) -> Cells:
    return Cells(*(cells[name][at] for name in ("label", "area_px", "y_px", "x_px", "at_border")))


def _divisions(
    cells: dict[str, Any],
    places: Floats,
    after: Ints,
    before: Ints,
    reach: float,
    s: TrackSettings,
    n_frames: int,
) -> list[tuple[int, int, int, float]]:
    """Find (mother, daughter, daughter, confidence), each by its index among all cells; `places` without drift.

    A track that begins beside a cell that goes on, so that both together lie and are as large as the mother was.
    """
    frame, area = cells["frame"], cells["area_px"].astype(np.float64)
    begins = np.flatnonzero((before < 0) & (frame > 0) & ~cells["at_border"])
    by_frame = {k: np.flatnonzero(frame == k) for k in np.unique(frame)}
    candidates = []
    for new in begins.tolist():
        k = int(frame[new])
        mothers = by_frame.get(k - 1, np.zeros(0, np.int64))
        mothers = mothers[after[mothers] >= 0]
        mothers = mothers[frame[after[mothers]] == k]
        if not mothers.size or _life(after, new) < min(s.min_daughter_life, n_frames - k):
            continue
        near = mothers[np.linalg.norm(places[mothers] - places[new], axis=1) < 1.5 * reach]
        for mother in near.tolist():
            sister = int(after[mother])
            if _life(after, sister) < min(s.min_daughter_life, n_frames - k):
                continue
            middle = (area[new] * places[new] + area[sister] * places[sister]) / (area[new] + area[sister])
            off = np.linalg.norm(middle - places[mother]) / np.sqrt(area[mother] / np.pi)
            # Of its last frames: two cells that were one label for a frame are no mother.
            whole = np.log((area[new] + area[sister]) / np.median(area[_last(before, mother, 3)]))
            uneven = np.log(area[new] / area[sister])
            confidence = float(np.exp(-((off / 1.0) ** 2) - (whole / 0.45) ** 2 - (uneven / 0.7) ** 2))
            if confidence >= s.division_confidence:
                candidates.append((-confidence, mother, new, sister))
    taken: set[int] = set()
    found = []
    for minus, mother, new, sister in sorted(candidates):
        if mother not in taken and new not in taken:
            taken |= {mother, new}
            found.append((mother, sister, new, -minus))
    return found


def _last(before: Ints, cell: int, n: int) -> list[int]:
    found = [cell]
    while len(found) < n and before[cell] >= 0:
        cell = int(before[cell])
        found.append(cell)
    return found


def _life(after: Ints, cell: int) -> int:
    n = 1
    while after[cell] >= 0:
        cell, n = int(after[cell]), n + 1
    return n


def _tables(
    series: _Series,
    cells: dict[str, Any],
    after: Ints,
    before: Ints,
    cost: Floats,
    divided: list[tuple[int, int, int, float]],
    series_id: str,
    field_ids: list[str],
) -> Followed:
    n = after.size
    mother_of: dict[int, int] = {}
    for mother, sister, new, _ in divided:
        # The mother ends; both daughters begin.
        after[mother], before[sister], cost[sister] = -1, -1, np.nan
        mother_of[sister], mother_of[new] = mother, mother
    track, parent, lineage = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    number = 0
    for cell in range(n):  # by frame and label
        if before[cell] >= 0:
            continue
        number += 1
        mother = mother_of.get(cell, -1)
        parents = int(track[mother]) if mother >= 0 else 0
        line = int(lineage[mother]) if mother >= 0 else number
        at = cell
        while at >= 0:
            track[at], parent[at], lineage[at] = number, parents, line
            at = int(after[at])
    frame = cells["frame"]
    gap = np.where(before >= 0, frame - frame[before] - 1, 0)
    tracks = pd.DataFrame(
        {
            "series_id": series_id,
            "frame": frame,
            "field_id": np.array(field_ids, object)[frame] if field_ids else "",
            "label": cells["label"],
            "track_id": track,
            "parent_track_id": parent,
            "lineage_id": lineage,
            "link_cost": cost,
            "gap_frames": gap,
            "y_px": cells["y_px"],
            "x_px": cells["x_px"],
            "area_px2": cells["area_px"],
            "touches_border": cells["at_border"],
        }
    )
    rows = [
        {
            "series_id": series_id,
            "mother_track_id": int(track[mother]),
            "daughter_1_track_id": min(int(track[a]), int(track[b])),
            "daughter_2_track_id": max(int(track[a]), int(track[b])),
            "frame": int(frame[a]),
            "confidence": confidence,
            "life_frames_min": min(_life(after, a), _life(after, b)),
        }
        for mother, a, b, confidence in divided
    ]
    rows.sort(key=lambda row: (row["frame"], row["mother_track_id"]))
    drifts = [
        {"series_id": series_id, "frame": k, "drift_y_px": y, "drift_x_px": x}
        for k, (y, x) in enumerate([(0.0, 0.0), *series.moved])
    ]
    typed = tracks.astype({c.name: c.dtype for c in TRACKS})
    return Followed(typed, typed_table(rows, DIVISIONS), typed_table(drifts, DRIFT))
