"""A run's tables and images as other programs take them: R, Python, FlowJo, napari, archives, Excel abroad."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from bridge.errors import InputError, MissingDependencyError
from bridge.files import whole_file, write_text
from bridge.images.label_images import read_labels
from bridge.images.reader import read_plane
from bridge.images.write_ome import write_ome_zarr
from bridge.many_rows import write_parquet
from bridge.names import safe_name
from bridge.pipeline.assay import positive_channels, unit_of
from bridge.pipeline.finished_run import FinishedRun, open_run
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.r_script import write_r_script
from bridge.tables import CELL, NUCLEUS, ROWS, Column, measured_columns, read_whole_table

Form = Literal["parquet", "anndata", "fcs", "ome-zarr", "file-list", "r", "csv-semicolon"]


def export(
    results: Path | str, forms: Sequence[Form], out: Path | str | None = None, ngff: Literal["0.4", "0.5"] = "0.5"
) -> list[Path]:
    """Write a finished run as other programs take it.

    Parameters
    ----------
    results : Path or str
        Folder of a run.
    forms : sequence of str
        ``parquet``: ``cells.parquet``, ``nuclei.parquet``, with units and meanings (arrow, DuckDB, R, Python).
        ``anndata``: ``cells.h5ad`` (scanpy). ``fcs``: a file for each condition and replicate (FlowJo).
        ``ome-zarr``: each field with its label images (napari, OMERO; needs the images). ``file-list``: a list of all
        files for the BioImage Archive. ``r``: a script that draws the figures and makes the test again.
        ``csv-semicolon``: tables for an Excel with a decimal comma.
    out : Path or str, optional
        Folder; ``export`` in the results folder unless given. What is there is replaced.
    ngff : {"0.4", "0.5"}
        Version of OME-Zarr.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        Not the folder of a run, or its images are gone (``ome-zarr``).
    MissingDependencyError
        A library is not installed.
    OutputError
        A file cannot be written.

    Examples
    --------
    >>> import bridge
    >>> bridge.export("results", ["parquet", "r"])                     # doctest: +SKIP
    """
    run = open_run(Path(results))
    folder = Path(out) if out is not None else run.out / "export"
    written: list[Path] = []
    for form in forms:
        written += list(_zarrs(run, folder, ngff)) if form == "ome-zarr" else list(_WRITERS[form](run, folder))
    return written


def _tables(run: FinishedRun) -> Iterator[tuple[str, pd.DataFrame, dict[str, Column]]]:
    """Give the tables of cells and nuclei, in the types that their columns declare, and what the columns are."""
    for what in (CELL, NUCLEUS) if run.plan.count_channel else (CELL,):
        yield what, run.rows(what), {c.name: c for c in run.columns(what)}


def _parquet(run: FinishedRun, folder: Path) -> Iterator[Path]:
    for what, table, known in _tables(run):
        path = folder / f"{ROWS[what]}.parquet"
        write_parquet(path, table, tuple(known.values()))
        yield path


def _anndata(run: FinishedRun, folder: Path) -> Iterator[Path]:
    anndata = _library("anndata", "anndata")
    for what, table, known in _tables(run):
        measures = [c.name for c in measured_columns(tuple(known.values())) if c.name in table]
        others = [name for name in table.columns if name not in measures]
        keys = [f"{field}:{label}" for field, label in zip(table["field_id"], table["label"], strict=True)]
        obs = table[others].copy()
        for name in others:
            if obs[name].dtype.kind not in "biuf":  # pandas' own string type has no place in the file
                words = np.array([str(v) if pd.notna(v) else "" for v in obs[name]], dtype=object)
                obs[name] = pd.Categorical(words, categories=pd.Index(sorted(set(words)), dtype=object))
        obs.index = pd.Index(np.array(keys, dtype=object), dtype=object)
        var = pd.DataFrame({"unit": [known[m].unit for m in measures], "meaning": [known[m].meaning for m in measures]}, dtype=object)  # fmt: skip
        var.index = pd.Index(np.array(measures, dtype=object), dtype=object)
        made = anndata.AnnData(table[measures].to_numpy(np.float64), obs=obs, var=var)
        made.obsm["spatial"] = table[[f"{what}_x_px", f"{what}_y_px"]].to_numpy(np.float64)
        path = folder / f"{ROWS[what]}.h5ad"
        with whole_file(path) as part:
            made.write_h5ad(part, compression="gzip")
        yield path


def _fcs(run: FinishedRun, folder: Path) -> Iterator[Path]:
    flowio = _library("fcs", "flowio")
    what, table, known = next(one for one in _tables(run) if one[0] == unit_of(run.context))
    names = [c.name for c in measured_columns(tuple(known.values())) if c.name in table]
    names += [f"{what}_x_px", f"{what}_y_px", "label"]
    for (condition, replicate), part in table.groupby(["condition", "replicate"], sort=False):
        path = folder / "fcs" / f"{safe_name(f'{condition}_{replicate}' if replicate else str(condition))}.fcs"
        events = part[names].to_numpy(np.float64)
        events = np.where(np.isfinite(events), events, 0.0)  # FCS knows no missing value
        with whole_file(path) as file, file.open("wb") as stream:
            flowio.create_fcs(stream, events.ravel().tolist(), names)
        yield path


def _zarrs(run: FinishedRun, folder: Path, ngff: Literal["0.4", "0.5"]) -> Iterator[Path]:
    done = {item.field_id for item in run.fields}
    for item in (f for f in make_plan(run.images(), run.settings).fields if f.field_id in done):
        files = {} if item.segment is None else {run.plan.segment_channel or "segment": item.segment}
        files |= run.plan.measured(item) or {**item.measure, **({run.plan.count_channel: item.count} if run.plan.count_channel and item.count else {})}  # fmt: skip
        planes = {name: read_plane(file.alone, run.settings.rgb_channel, name != run.plan.segment_channel) for name, file in files.items()}  # fmt: skip
        pixels = [plane.pixels for plane in planes.values()]
        kind = np.result_type(*[p.dtype for p in pixels])
        labels = {"cells": read_labels(run.folder.mask(item))}
        if run.plan.count_channel:
            labels["nuclei"] = read_labels(run.folder.nuclei_mask(item))
        path = folder / "zarr" / safe_name(item.condition) / f"{item.field_id}.zarr"
        scale = next(iter(planes.values())).calibration
        write_ome_zarr(path, [p.astype(kind) for p in pixels], list(planes), scale, labels, ngff)
        yield path


def _file_list(run: FinishedRun, folder: Path) -> Iterator[Path]:
    """Write what REMBI calls a file list: one row a file, its condition, replicate and channel."""
    fields = pd.read_csv(run.out / "fields.csv", dtype=str, keep_default_na=False)
    channels = {"segment_path": run.plan.segment_channel or "", "count_path": run.plan.count_channel or ""}
    channels |= {f"measure_path_{c}": c for c in run.plan.measure_channels}
    known = {item.field_id: item for item in run.fields}
    rows = []
    for row in fields.to_dict("records"):
        own = [row["condition"], row["replicate"], row["sample"], row["field_id"]]
        rows += [[row[name].partition("#")[0], "image", channel, *own] for name, channel in channels.items() if row.get(name)]  # fmt: skip
        item = known.get(row["field_id"])
        if item is None:
            continue
        made = [(run.folder.mask(item), "label image of the cells"), (run.folder.roiset(item), "ImageJ ROI set of the cells")]  # fmt: skip
        if run.plan.count_channel:
            made += [(run.folder.nuclei_mask(item), "label image of the nuclei"), (run.folder.nuclei_roiset(item), "ImageJ ROI set of the nuclei")]  # fmt: skip
        rows += [[f"results/{path.relative_to(run.out).as_posix()}", what, "", *own] for path, what in made if path.is_file()]  # fmt: skip
    table = pd.DataFrame(rows, columns=["Files", "Type", "Channel", "Condition", "Replicate", "Sample", "Field"])
    path = folder / "file_list.tsv"
    write_text(path, table.drop_duplicates().to_csv(sep="\t", index=False, lineterminator="\n"))
    yield path


def _r(run: FinishedRun, folder: Path) -> Iterator[Path]:
    yield write_r_script(run, folder, positive_channels(run.context))


def _semicolons(run: FinishedRun, folder: Path) -> Iterator[Path]:
    """Write the tables as an Excel takes them whose numbers have a comma: semicolons, and a mark for UTF-8."""
    for path in sorted([*run.out.glob("*.csv"), *(run.out / "conditions").glob("*.csv")]):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)  # every digit and name as it stands there
        for name in read_whole_table(path).select_dtypes("float").columns:
            table[name] = table[name].str.replace(".", ",")
        target = folder / "excel" / path.relative_to(run.out)
        text = table.to_csv(sep=";", index=False, lineterminator="\r\n")
        write_text(target, "\ufeff" + text)
        yield target


_WRITERS: dict[str, Callable[[FinishedRun, Path], Iterator[Path]]] = {
    "parquet": _parquet, "anndata": _anndata, "fcs": _fcs, "file-list": _file_list, "r": _r, "csv-semicolon": _semicolons,
}  # fmt: skip
FORMS = (*_WRITERS, "ome-zarr")


def _library(extra: str, module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        raise MissingDependencyError(f"export --as {extra}: a library is not installed (expected the extra {extra}). Install it: pip install 'cellpose-fiji-bridge[{extra}]'") from None  # fmt: skip


def require_known(forms: Sequence[str]) -> None:
    """Refuse a form that there is not.

    Raises
    ------
    InputError
    """
    for form in forms:
        if form not in FORMS:
            raise InputError(f"--as {form}: not known (expected {', '.join(FORMS)}). Correct it.")
