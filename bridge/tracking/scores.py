"""How good tracks are: links between cells, and divisions."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class TrackScores(NamedTuple):
    """Links and divisions, counted.

    Attributes
    ----------
    links_right, links_wrong, links_missed : int
        A link joins the same cell in two frames, next to each other or over a gap.
    divisions_right, divisions_found, divisions_true : int
        Right: mother and both daughters are.
    """

    links_right: int
    links_wrong: int
    links_missed: int
    divisions_right: int
    divisions_found: int
    divisions_true: int

    @property
    def link_f1(self) -> float:
        """Of the links; 1 where there is none and none was found."""
        total = 2 * self.links_right + self.links_wrong + self.links_missed
        return 2 * self.links_right / total if total else 1.0

    @property
    def division_f1(self) -> float:
        """Of the divisions; 1 where there is none and none was found."""
        total = self.divisions_found + self.divisions_true
        return 2 * self.divisions_right / total if total else 1.0


def score_tracks(truth: pd.DataFrame, found: pd.DataFrame) -> TrackScores:
    """Score tracks against true ones of the same label images.

    Parameters
    ----------
    truth, found : DataFrame
        ``frame, label, track_id, parent_track_id``; a cell is known by its frame and label. A true cell that was not
        segmented is in no row: over it, the true link joins the frames in which it is.

    Returns
    -------
    TrackScores

    Examples
    --------
    >>> true = pd.DataFrame({"frame": [0, 1, 2], "label": [1, 5, 2], "track_id": 1, "parent_track_id": 0})
    >>> score_tracks(true, true.assign(track_id=[1, 1, 2])).link_f1
    0.6666666666666666
    """
    true_links, found_links = _links(truth), _links(found)
    true_divisions, found_divisions = _divisions(truth), _divisions(found)
    right = len(true_links & found_links)
    return TrackScores(
        right, len(found_links) - right, len(true_links) - right,
        len(true_divisions & found_divisions), len(found_divisions), len(true_divisions),
    )  # fmt: skip


def _links(table: pd.DataFrame) -> set[tuple[int, int, int, int]]:
    ordered = table.sort_values(["track_id", "frame"], kind="stable")
    frame, label, track = (ordered[name].to_numpy() for name in ("frame", "label", "track_id"))
    same = track[1:] == track[:-1]
    return set(zip(*(a[:-1][same].tolist() for a in (frame, label)), *(a[1:][same].tolist() for a in (frame, label)), strict=True))  # fmt: skip


def _divisions(table: pd.DataFrame) -> set[tuple[tuple[int, int], frozenset[tuple[int, int]]]]:
    """Last cell of the mother, and the first cells of its two daughters."""
    ordered = table.sort_values(["track_id", "frame"], kind="stable")
    first, last = (ordered.groupby("track_id").nth(k).set_index("track_id") for k in (0, -1))
    born = first[first["parent_track_id"] > 0]
    found = set()
    for mother, daughters in born.groupby("parent_track_id"):
        if len(daughters) == 2 and mother in last.index:
            ends = int(last["frame"][mother]), int(last["label"][mother])
            found.add((ends, frozenset(zip(daughters["frame"].tolist(), daughters["label"].tolist(), strict=True))))
    return found
