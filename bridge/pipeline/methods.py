"""What a paper's Methods and a figure's legend say of a run, from what the run recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bridge.measurements import MEASUREMENTS
from bridge.names import number

if TYPE_CHECKING:
    import pandas as pd

CITATIONS = {
    "Cellpose": "Stringer, C., Wang, T., Michaelos, M. & Pachitariu, M. Cellpose: a generalist algorithm for cellular segmentation. Nat. Methods 18, 100-106 (2021).",
    "Cellpose 3": "Stringer, C. & Pachitariu, M. Cellpose3: one-click image restoration for improved cellular segmentation. Nat. Methods 22, 592-599 (2025).",
    "Cellpose-SAM": "Pachitariu, M., Rariden, M. & Stringer, C. Cellpose-SAM: superhuman generalization for cellular segmentation. bioRxiv 2025.04.28.651001 (2025).",
    "ImageJ": "Schneider, C. A., Rasband, W. S. & Eliceiri, K. W. NIH Image to ImageJ: 25 years of image analysis. Nat. Methods 9, 671-675 (2012).",
    "Fiji": "Schindelin, J. et al. Fiji: an open-source platform for biological-image analysis. Nat. Methods 9, 676-682 (2012).",
    "rolling ball": "Sternberg, S. R. Biomedical image processing. Computer 16, 22-34 (1983).",
}
_WORDS = {
    "area": "area", "mean": "mean grey level", "standard": "standard deviation", "min": "minimum and maximum", "centroid": "centroid", "integrated": "integrated density",
}  # fmt: skip


def methods_text(
    content: Mapping[str, Any], shares: pd.DataFrame, gates: pd.DataFrame, comparisons: pd.DataFrame
) -> str:
    """Return a paragraph for a paper's Methods, and the references it needs.

    Parameters
    ----------
    content : mapping
        `run.json`.
    shares, gates, comparisons : DataFrame
        `shares.csv`, `gates.csv`, `comparisons.csv`.

    Returns
    -------
    str
        Paragraphs, with an empty line between them.
    """
    s, channels = content["settings"], content["channels"]
    parts = [_segmented(content), _measured(content), _called(s, gates), _summarised(shares, comparisons)]
    parts += [_left_out(content), _software(content)]
    references = ["Cellpose", _of_version(content)] if content.get("segmentation") else []
    references += (["ImageJ"] if channels["measure"] else []) + (["Fiji"] if s["fiji"] != "core" else [])
    references += ["rolling ball"] if channels["measure"] and s["rolling_ball"] != "none" else []
    listed = "\n".join(CITATIONS[name] for name in dict.fromkeys(references) if name)
    text = " ".join(part for part in parts if part)
    return f"{text}\n\n{listed}\n" if listed else f"{text}\n"


def _of_version(content: Mapping[str, Any]) -> str:
    version = str(next(iter(content["segmentation"].values()))["cellpose"])
    return "Cellpose-SAM" if version.startswith("4") else "Cellpose 3"


def _segmented(content: Mapping[str, Any]) -> str:
    s, channels, said = content["settings"], content["channels"], []
    for role, what in (("segment", "Cells"), ("count", "Nuclei")):
        facts = content.get("segmentation", {}).get(role)
        if not facts:
            continue
        diameters = sorted({d for d in facts["diameter_px"].values() if d is not None})
        size = f", diameter {diameters[0]:g}" + (f" to {diameters[-1]:g}" if len(diameters) > 1 else "") + " px" if diameters else ""  # fmt: skip
        beside = channels.get("segment_with", []) if role == "segment" else []
        seen = f"{channels[role]} (shown to the network together with {_listed(beside)})" if beside else channels[role]
        said.append(f"{what} were segmented in {seen} with Cellpose {facts['cellpose']} (model {facts['model']}, SHA-256 {facts['model_sha256'][:12]}{size}).")  # fmt: skip
    if said:
        said.append(f"The flow threshold was {s['flow_threshold']:g}, the cell probability threshold {s['cellprob_threshold']:g}; objects of fewer than {s['min_size']} px were removed.")  # fmt: skip
    if s["masks"]:
        said.insert(0, "Label images of the cells were given.")
    return " ".join(said)


def _measured(content: Mapping[str, Any]) -> str:
    s, channels, imagej = content["settings"], content["channels"], content.get("imagej") or {}
    said = "Label images were converted to ImageJ ROIs that select exactly the same pixels."
    if not channels["measure"]:
        return said
    names = _listed(channels["measure"])
    who = f"ImageJ {imagej['imagej']}" if imagej.get("imagej") else "a reimplementation of the arithmetic of ImageJ 1.54p, equal in every bit,"  # fmt: skip
    if s["rolling_ball"] == "none":
        background = f"{names} {'was' if len(channels['measure']) == 1 else 'were'} measured in every cell with {who} without background subtraction"
    else:
        ball = "sliding paraboloid" if s["sliding_paraboloid"] else "rolling ball"
        more = [text for flag, text in (("light_background", "light background"), ("disable_smoothing", "no smoothing")) if s[flag]]  # fmt: skip
        background = f"The background of {names} was subtracted with {who} ({ball}, radius {s['rolling_ball']:g} px{''.join(f', {m}' for m in more)}), and every cell{' and nucleus' if channels['count'] else ''} was measured"
    known = {m.word: _WORDS.get(m.word, m.word) for m in MEASUREMENTS}
    text = f"{said} {background} ({', '.join(known[word] for word in s['measurements'])})."
    double = content.get("double_entry")
    if double and double.get("numbers_compared"):
        text += f" Each measurement was made twice, by ImageJ and by an independent implementation; of {double['numbers_compared']:,} numbers {'none differed' if not double['fields_that_differ'] else 'some differed in ' + number(double['fields_that_differ'], 'field')}."
    return text


def _called(s: Mapping[str, Any], gates: pd.DataFrame) -> str:
    called = gates[gates["value"].notna()] if len(gates) else gates
    said = []
    for channel, rows in called.groupby("channel", sort=False):
        unit = "Nuclei" if str(rows["measure"].iloc[0]).startswith("nucleus") else "Cells"
        methods = set(rows["method"])
        if methods == {"control"}:
            how = f"above the {s['gate_percentile']:g}th percentile of {s['edu_control']}, in each replicate; the share of that control above the gate was taken off"
        elif methods == {"threshold"}:
            how = f"above {_listed([f'{v:g}' for v in dict.fromkeys(rows['value'])])} grey levels, a threshold set by hand"
        else:
            how = "above the valley between two groups of a mixture model, in each replicate"
        said.append(f"{unit} were called {channel}-positive {how} ({str(rows['measure'].iloc[0]).rpartition('_')[2]}).")
    return " ".join(said)


def _summarised(shares: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    n = _replicates(shares)
    if not n:
        return ""
    tested = comparisons[comparisons["p"].notna()]
    how = f"; conditions were compared with {_listed(list(dict.fromkeys(tested['control'])))} on replicates alone, with Holm's correction for several comparisons" if len(tested) else ""  # fmt: skip
    return f"Values are means of replicates (n = {n} a condition), not of cells{how}."


def _left_out(content: Mapping[str, Any]) -> str:
    said = [f"{number(len(content['excluded']), 'field')} {'was' if len(content['excluded']) == 1 else 'were'} excluded."] if content["excluded"] else []  # fmt: skip
    corrected = content.get("corrected_by_hand") or {}
    if corrected:
        cells = sum(c["changed"] + c["gone"] for c in corrected.values())
        said.append(f"{number(cells, 'cell')} of {number(len(corrected), 'field')} {'was' if cells == 1 else 'were'} corrected by hand.")  # fmt: skip
    return " ".join(said)


def _software(content: Mapping[str, Any]) -> str:
    versions = content["versions"]
    listed = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "torch", "roifile") if name in versions)
    return f"The analysis was done with cellpose-fiji-bridge {content['program']['version']} in Python {content['python']} ({listed})."


def legend_text(content: Mapping[str, Any], shares: pd.DataFrame, counts: pd.DataFrame) -> str:
    """Return a figure's legend with what n is.

    Parameters
    ----------
    content : mapping
        `run.json`.
    shares, counts : DataFrame
        `shares.csv`, `counts.csv`.
    """
    n, unit = _replicates(shares), "nuclei" if content["channels"]["count"] else "cells"
    column = "n_nuclei" if unit == "nuclei" else "n_cells"
    numbers = [f"{condition} {int(rows[column].fillna(0).sum()):,} {unit} in {number(len(rows), 'field')}" for condition, rows in counts.groupby("condition", sort=False)]  # fmt: skip
    measured = _listed(content["channels"]["measure"]) or "area"
    replicates = f"Large symbols: means of replicates (n = {n} a condition), small ones: single {unit}. Bars: mean and SD of the replicates." if n else f"Symbols: single {unit}; no replicates were named."  # fmt: skip
    return f"{measured} of single {unit} in {number(len(content['conditions']), 'condition')}. {replicates} {'; '.join(numbers)}.\n"


def _replicates(shares: pd.DataFrame) -> str:
    """Return the number of replicates of the conditions, as ``3`` or ``2 to 3``; empty where none are known."""
    if not len(shares):
        return ""
    found = sorted({int(n) for n in shares.loc[shares["level"] == "condition", "n_replicates"].dropna() if n > 0})
    return f"{found[0]} to {found[-1]}" if len(found) > 1 else str(found[0]) if found else ""


def _listed(names: Sequence[str]) -> str:
    *others, last = names or [""]
    return f"{', '.join(others)} and {last}" if others else last
