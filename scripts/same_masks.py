"""Are the masks Cellpose's own? Every real field, by Cellpose's eval and by this program, exact and fast.

    uv run python scripts/same_masks.py DATA [--out docs/same_masks.json]

DATA holds folders of images (phase contrast and nuclei, TIFF or PNG). The two take turns on each field; weights are the
original network's (`cyto_0`), threads those of the machine. Where a field has a channel that tells which cells made DNA, the
share of cells above 40 grey levels is compared, too.
"""

from __future__ import annotations

import json
import statistics as st
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from cyclopts import App
from PIL import Image
from rich.console import Console
from rich.table import Table

from bridge.cores import cores
from bridge.images.label_images import read_labels
from bridge.scores.overlaps import overlaps
from bridge.scores.score import count
from bridge.segmentation.segmenter import Segmenter

app = App(help=__doc__)
console = Console()


POSITIVE = 40  # mean grey level of a cell


def fields(data: Path) -> Iterator[tuple[str, str, npt.NDArray[Any], float]]:
    """Kind, name, image and diameter of each field."""
    for path in sorted(data.glob("phase_t98g/train/*/raw.tif")):
        yield "phase contrast", path.parent.name, tifffile.imread(path), 50.0
    for path in sorted(data.glob("phase_t98g/timelapse/*.tif"))[:2]:
        yield "phase contrast", path.stem, tifffile.imread(path), 50.0
    for path in sorted(data.glob("nuclei_520x696/images/*.png"))[:12]:
        image = np.asarray(Image.open(path))
        areas = np.bincount(read_labels(path.parents[1] / "labels" / path.name).ravel())[1:]
        diameter = round(float(2 * np.median(np.sqrt(areas[areas > 0] / np.pi))), 1)
        yield "nuclei", path.stem[:8], image if image.ndim == 2 else image[..., 0], diameter
    for path in sorted(data.glob("brdu_hoechst/panels/*Hoechst.tif")):
        yield "Hoechst", path.stem, tifffile.imread(path), 50.0
    for path, diameter in zip(sorted(data.glob("three_channel_human/*.tif"))[::2], (30.0, 50.0), strict=False):
        yield "three channels", path.stem[-3:], tifffile.imread(path), diameter


def timed(work: Callable[[], Any], kept: list[float]) -> Any:
    begin = time.perf_counter()
    found = work()
    kept.append(time.perf_counter() - begin)
    return found


def precision(truth: npt.NDArray[Any], found: npt.NDArray[Any], iou: float) -> tuple[int, int, int]:
    """True positives, false positives, false negatives."""
    counted = count(overlaps(truth, found), iou)
    return counted.tp, counted.fp, counted.fn


def different_px(truth: npt.NDArray[Any], found: npt.NDArray[Any]) -> int:
    """Pixels that are not in the same cell, however cells are numbered."""
    either = (truth > 0) | (found > 0)
    pairs, n = np.unique(np.stack([truth[either], found[either]]).astype(np.int64), axis=1, return_counts=True)
    cells = (pairs > 0).all(axis=0)
    best: dict[int, tuple[int, int]] = {}
    for a, b, k in zip(*pairs[:, cells].tolist(), n[cells].tolist(), strict=True):
        best[a] = max(best.get(a, (0, 0)), (k, b))
    taken: dict[int, int] = {}
    for k, b in best.values():
        taken[b] = max(taken.get(b, 0), k)
    return int(either.sum()) - sum(taken.values())


def share_positive(labels: npt.NDArray[Any], signal: npt.NDArray[Any]) -> float:
    """Per cent of the cells whose mean is above the limit."""
    areas, sums = np.bincount(labels.ravel()), np.bincount(labels.ravel(), signal.ravel())
    there = areas[1:] > 0
    return float(100 * np.mean(sums[1:][there] / areas[1:][there] > POSITIVE))


def of_field(
    kind: str,
    name: str,
    image: npt.NDArray[Any],
    diameter: float,
    ours: dict[str, Segmenter],
    cellpose: Any,
    repeats: int,
    signal: npt.NDArray[Any] | None = None,
) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {k: [] for k in ("eval", "eval1", *ours)}
    found: dict[str, npt.NDArray[Any]] = {}
    for _ in range(repeats):
        theirs = timed(lambda: cellpose.eval(image, diameter=diameter, channels=[0, 0])[0], seconds["eval"])
        timed(lambda: cellpose.eval(image, diameter=diameter, channels=[0, 0], batch_size=1), seconds["eval1"])
        for how, segmenter in ours.items():
            begin = time.perf_counter()
            found[how] = segmenter.segment(image, diameter).labels
            seconds[how].append(time.perf_counter() - begin)
    row: dict[str, Any] = {"kind": kind, "field": name, "shape": list(image.shape), "cells": int(theirs.max())}
    if signal is not None:
        row["positive_percent"] = {
            how: share_positive(labels, signal) for how, labels in {"eval": theirs, **found}.items()
        }
    for how, labels in found.items():
        # Cellpose 3.1.1.3 removes cells below its smallest size by their rank instead of their label: another one goes.
        row[f"{how}_kept"] = only_here(theirs, labels)
        row[f"{how}_px"] = different_px(theirs, labels) - sum(row[f"{how}_kept"])
        row[f"{how}_ap"] = {str(iou): precision(theirs, labels, iou) for iou in (0.5, 0.75, 0.9)}
    return {**row, "seconds": {how: st.median(times) for how, times in seconds.items()}}


def only_here(theirs: npt.NDArray[Any], ours: npt.NDArray[Any]) -> list[int]:
    """Pixels of each of our cells of which they have nothing."""
    areas, shared = np.bincount(ours.ravel()), np.bincount(ours[theirs > 0], minlength=int(ours.max()) + 1)
    return [int(areas[k]) for k in range(1, areas.size) if areas[k] and not shared[k]]


@app.default
def main(data: Path, out: Path | None = None, repeats: int = 1) -> None:
    from cellpose import models

    warnings.simplefilter("ignore")
    ours = {
        "exact": Segmenter("cyto_0", "cpu"),
        "fast": Segmenter("cyto_0", "cpu", precision="fast"),
        "torch": Segmenter("cyto_0", "cpu", "torch"),
    }
    cellpose = models.CellposeModel(device=torch.device("cpu"), pretrained_model=str(ours["exact"].model.path))
    rows = []
    _, _, first, diameter = next(fields(data))
    for segmenter in ours.values():  # a new kernel is compiled at its first call
        segmenter.segment(first, diameter)
    for kind, name, image, diameter in fields(data):
        beside = data / "brdu_hoechst" / "panels" / f"{name.replace('Hoechst', 'BrdU')}.tif"
        signal = tifffile.imread(beside) if kind == "Hoechst" and beside.is_file() else None
        rows.append(row := of_field(kind, name, image, diameter, ours, cellpose, repeats, signal))
        s = row["seconds"]
        console.print(f"{kind} {name}: {row['cells']} cells, px {row['exact_px']} | {row['torch_px']} | {row['fast_px']}, x {s['eval'] / s['exact']:.2f} | {s['eval'] / s['torch']:.2f} | {s['eval'] / s['fast']:.2f}")  # fmt: skip
    summary = summarise(rows)
    show(summary, ours["exact"].info["inference"], ours["fast"].info["inference"])
    apart = [abs(row["positive_percent"]["exact"] - row["positive_percent"]["fast"]) for row in rows if "positive_percent" in row]  # fmt: skip
    if apart:
        console.print(f"share of positive cells, exact and fast: {max(apart):.2f} points apart at most, {st.mean(apart):.2f} in the mean of {len(apart)} fields")  # fmt: skip
    if out is not None:
        content = {
            "cores": cores(),
            "exact": ours["exact"].info,
            "fast": ours["fast"].info,
            "summary": summary,
            "fields": rows,
        }
        out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    summary = []
    for kind in [*dict.fromkeys(row["kind"] for row in rows), "all"]:
        own = [row for row in rows if kind in (row["kind"], "all")]
        line: dict[str, Any] = {"kind": kind, "fields": len(own), "cells": sum(row["cells"] for row in own)}
        for how in ("exact", "torch", "fast"):
            line[f"{how}_identical"] = sum(row[f"{how}_px"] == 0 for row in own)
            line[f"{how}_kept"] = sum(len(row[f"{how}_kept"]) for row in own)
            total = np.sum([row[f"{how}_ap"]["0.9"] for row in own], axis=0)
            line[f"{how}_ap90_pooled"] = float(total[0] / max(1, total.sum()))
            line[f"{how}_ap90_lowest"] = min(
                a / max(1, a + b + c) for a, b, c in (row[f"{how}_ap"]["0.9"] for row in own)
            )
            line[f"{how}_times"] = sum(r["seconds"]["eval"] for r in own) / sum(r["seconds"][how] for r in own)
            line[f"{how}_times_batch1"] = sum(r["seconds"]["eval1"] for r in own) / sum(r["seconds"][how] for r in own)
        summary.append(line)
    return summary


def show(summary: list[dict[str, Any]], exact: str, fast: str) -> None:
    table = Table(title=f"exact: {exact}; fast: {fast}")
    for heading in ("", "fields", "cells", "exact: identical", "times", "batch 1", "torch: identical", "times", "fast: AP 0.9 pooled", "lowest", "times"):  # fmt: skip
        table.add_column(heading, justify="right" if heading else "left")
    for s in summary:
        table.add_row(
            s["kind"], str(s["fields"]), str(s["cells"]), str(s["exact_identical"]), f"{s['exact_times']:.2f}", f"{s['exact_times_batch1']:.2f}",
            str(s["torch_identical"]), f"{s['torch_times']:.2f}", f"{s['fast_ap90_pooled']:.4f}", f"{s['fast_ap90_lowest']:.3f}", f"{s['fast_times']:.2f}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    app()
