"""A finished run as one file that a stranger can check: tables, ROI sets, label images, records, weights, what to cite."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.assay.comparison import COMPARISONS
from bridge.assay.shares import SHARES
from bridge.errors import InputError, OutputError
from bridge.files import sha256
from bridge.foreign import read_json
from bridge.names import number, safe_name
from bridge.pipeline.assay import GATES
from bridge.pipeline.bundle_zip import MANIFEST, METADATA, digest_of, manifest_text, write_zip
from bridge.pipeline.citations import citation_cff, cited
from bridge.pipeline.crate import metadata
from bridge.pipeline.finished_run import FinishedRun, open_run
from bridge.pipeline.graph import EXPERIMENT
from bridge.pipeline.methods import legend_text, methods_text
from bridge.pipeline.prepared import flat_field_of
from bridge.setting_options import ON_THE_COMMAND_LINE, PATHS
from bridge.settings import Settings
from bridge.tables import COUNTS, FIELDS, ROWS, Column, read_table

PARQUET = tuple(f"{name}.parquet" for name in ROWS.values())
FOLDERS = (
    *PARQUET,
    "masks",
    "found",
    "corrections",
    "rois",
    "measurements",
    "conditions",
    "classes",
    "tracks",
    "records",
)
FLAT_FIELDS = "inputs/flat_field"
_LARGE = "_subtracted.tif"  # an image again; it follows from the images and the settings
_README = """Results of cellpose-fiji-bridge {version}.

methods.txt says how they were made, ro-crate-metadata.json says it for machines, run.json holds every setting.
Check them on any computer: cellpose-fiji verify THIS.zip
With the images, compute everything again: cellpose-fiji verify THIS.zip --images FOLDER
"""


@dataclass(frozen=True)
class Bundled:
    """A bundle that was written.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of the zip: state it where the bundle is published.
    files : int
        Files in it.
    size : int
        Bytes of the zip.
    weights : str
        Which weights it holds, and which it does not.
    notes : tuple of str
        What it lacks.
    """

    path: Path
    sha256: str
    files: int
    size: int
    weights: str
    notes: tuple[str, ...] = ()


def bundle(
    results: Path | str,
    out: Path | str,
    weights: bool = True,
    author: Sequence[str] = (),
    licence: str | None = None,
) -> Bundled:
    """Write a finished run as one zip, an RO-Crate, which `verify` checks.

    Parameters
    ----------
    results : Path or str
        Folder of a run.
    out : Path or str
        The zip; must not exist. The same results give the same bytes.
    weights : bool
        Put the weights of a network that the user trained into it. Those of a model with a name are known by their SHA-256.
    author : sequence of str, optional
        Whose results these are.
    licence : str, optional
        Address of the licence under which the results are.

    Returns
    -------
    Bundled

    Raises
    ------
    InputError
        Not the folder of a run, a file of it was changed by hand, or its weights are gone.
    OutputError
        The zip is there already, or cannot be written.

    Examples
    --------
    >>> import bridge
    >>> bridge.bundle("no such folder", "results.zip")
    Traceback (most recent call last):
    bridge.errors.InputError: no such folder: not the folder of a run (no run.json that can be read). Name the folder given with --out.
    >>> bridge.bundle("results", "results.zip").sha256                         # doctest: +SKIP
    """
    run, out = open_run(Path(results)), Path(out)
    if out.exists():
        raise OutputError(f"{out}: is there already. It is not overwritten: move it elsewhere, or name another file with --out.")  # fmt: skip
    if out.suffix.lower() != ".zip":
        raise InputError(f"{out}: not the name of a zip (got {out.suffix or 'no ending'}, expected .zip). Name it {out.name}.zip.")  # fmt: skip
    content = read_json(run.folder.run)
    files: dict[str, Path | bytes] = {"run.json": run.folder.run, **_written(run), **_states(run)}
    flat, notes = _flat_fields(run)
    files |= flat
    own, said = _weights(run, content, weights)
    files |= own
    placed = {role: name for role, model in content["models"].items() for name, path in own.items() if name.startswith(f"weights/{model['sha256'][:12]}_") and not name.endswith("_size.npy")}  # fmt: skip
    methods, legend = texts(run, content)
    files |= {
        "methods.txt": methods.encode(), "legend.txt": legend.encode(), "CITATION.cff": citation_cff(content, methods).encode(),
        "settings.toml": _settings(run, content, placed).encode(), "inputs.csv": _inputs(run).encode(),
        "README.txt": _README.format(version=content["program"]["version"]).encode(),
    }  # fmt: skip
    digests = {name: digest_of(files[name]) for name in sorted(files)}
    sizes = {name: len(c) if isinstance(c, bytes) else c.stat().st_size for name, c in files.items()}
    described = {name: (sizes[name], digests[name]) for name in files}
    text = metadata(content, described, placed, cited(methods), author, licence).encode()
    files |= {METADATA: text, MANIFEST: manifest_text({**digests, METADATA: digest_of(text)})}
    write_zip(out, files)
    return Bundled(out, sha256(out), len(files), out.stat().st_size, said, tuple(notes))


def _written(run: FinishedRun) -> dict[str, Path]:
    """Return what the steps of the finished fields wrote, as far as it goes into a bundle, with their records."""
    found: dict[str, Path] = {}
    for field_id in (*(item.field_id for item in run.fields), EXPERIMENT):
        for record in sorted(run.records.folder(field_id).glob("*.json")):
            found[f"records/{field_id}/{record.name}"] = record
            for name, digest in run.records.outputs(field_id, record.stem).items():
                if not belongs(name):
                    continue
                path = run.out / name
                if not path.is_file():
                    raise InputError(f"{path}: is not there any more (expected a file of the run). Give the command of the run again, then bundle it.")  # fmt: skip
                if (now := sha256(path)) != digest:
                    raise InputError(f"{path}: was changed since it was written (got SHA-256 {now[:12]}..., expected SHA-256 {digest[:12]}...). A bundle holds what the run wrote: move it elsewhere and give the command of the run again.")  # fmt: skip
                found[name] = path
    return found


def belongs(name: str) -> bool:
    """Return whether a file that a step wrote goes into a bundle: tables and outlines do, pictures do not.

    Examples
    --------
    >>> belongs("cells.csv"), belongs("masks/A/f1_mask.tif"), belongs("overlays/A.png")
    (True, True, False)
    """
    folder, slash, _ = name.partition("/")
    return (folder in FOLDERS and not name.endswith((_LARGE, ".png"))) if slash else name.endswith(".csv")


def _states(run: FinishedRun) -> dict[str, Path]:
    """Return what persons gave: corrected label images, a classifier and its truth, how cells are followed."""
    folder = run.folder
    paths = [*(folder.correction(item) for item in run.fields), folder.classifier(), folder.class_truth(), folder.tracking()]  # fmt: skip
    return {path.relative_to(run.out).as_posix(): path for path in paths if path.is_file()}


def _flat_fields(run: FinishedRun) -> tuple[dict[str, Path], list[str]]:
    """Return the flat fields, without which nothing can be measured again, and what is said of those that are gone."""
    if run.settings.flat_field is None:
        return {}, []
    found, notes = {}, []
    for channel in run.plan.measured_channels:
        noted = [run.records.made_from(item.field_id, "measure").get("flat_field", {}).get(channel) for item in run.fields]  # fmt: skip
        try:
            path = flat_field_of(run.settings, channel)
        except InputError:
            path = None
        if path is None or not path.is_file() or sha256(path) not in noted:
            notes.append(f"the flat field of {channel} is not where it was, or was changed: without it nobody can measure again")  # fmt: skip
            continue
        found[f"{FLAT_FIELDS}/{safe_name(channel)}.tif"] = path
    return found, notes


def _weights(run: FinishedRun, content: Mapping[str, Any], wanted: bool) -> tuple[dict[str, Path], str]:
    from bridge.segmentation.models import is_model_name

    given = {"segment": run.settings.model, "count": run.settings.nuclei_model}
    found: dict[str, Path] = {}
    said = []
    for role, model in content["models"].items():
        name, digest = str(model["name"]), str(model["sha256"])
        if is_model_name(name):
            said.append(f"{name} is named with its SHA-256 ({digest[:12]}...), which suffices")
            continue
        path = Path(given[role] or name)
        if not wanted:
            said.append(f"without the weights of {path.name}: who computes the {'nuclei' if role == 'count' else 'cells'} again needs that file (SHA-256 {digest[:12]}...)")  # fmt: skip
            continue
        now = sha256(path) if path.is_file() else None
        if now != digest:
            got = f"SHA-256 {now[:12]}..." if now else "no file"
            raise InputError(f"{path}: not the weights of this run (got {got}, expected SHA-256 {digest[:12]}...). Bring them back, or give --no-weights.")  # fmt: skip
        target = f"weights/{digest[:12]}_{safe_name(path.name)}"
        found[target] = path
        size = path.with_name(f"{path.name}_size.npy")
        if size.is_file():
            found[f"{target}_size.npy"] = size
        said.append(f"with the weights of {path.name}")
    listed = "; ".join(dict.fromkeys(said)) or "no network was used"
    return found, listed


def texts(run: FinishedRun, content: Mapping[str, Any]) -> tuple[str, str]:
    """Return Methods and legend as the run's tables give them."""
    parts = (("shares", SHARES), ("gates", GATES), ("comparisons", COMPARISONS), ("counts", COUNTS))
    shares, gates, comparisons, counts = (read_table(run.out / f"{name}.csv", columns) for name, columns in parts)
    return methods_text(content, shares, gates, comparisons), legend_text(content, shares, counts)


def _settings(run: FinishedRun, content: Mapping[str, Any], placed: Mapping[str, str]) -> str:
    """Return the settings as a file for ``--settings``, with paths within the bundle."""
    plain, default = run.settings.as_json(), Settings().as_json()
    channels = content["channels"]
    plain |= {"segment": channels["segment"], "measure": channels["measure"] or ["none"], "count": channels["count"] or "none"}  # fmt: skip
    own = {"model": placed.get("segment"), "count_model": placed.get("count")}
    if run.settings.flat_field is not None:
        own["flat_field"] = FLAT_FIELDS
    lines = ["# Put the images into a folder images beside this file.", 'images = "images"']
    for name, value in plain.items():
        if value == default[name] or value is None or name in ON_THE_COMMAND_LINE:
            continue
        if name in PATHS and own.get(name):
            value = own[name]
        elif name in PATHS and ("/" in str(value) or "\\" in str(value)):
            lines.append(f"# {name}: a file or folder of the run that is not in this bundle")
            continue
        lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def images_of(run: FinishedRun) -> dict[str, dict[str, tuple[str, dict[str, Any]]]]:
    """Return the images of each finished field: by channel the address in `fields.csv`, and what its record says.

    Parameters
    ----------
    run : FinishedRun

    Returns
    -------
    dict
        By ``field_id`` and channel: address, and ``image`` (SHA-256), ``channel``, ``scene``, ``frame``, ``z``.
    """
    measured = {c: f"measure_path_{c}" for c in run.plan.measure_channels}
    beside = {c: f"segment_with_path_{c}" for c in run.plan.segment_with}
    table = read_table(
        run.folder.fields,
        [c for c in FIELDS if c.dtype == "str"]
        + [Column(name, "str", "", "") for name in (*beside.values(), *measured.values())],
    )
    rows = {row["field_id"]: row for row in table.to_dict("records")}
    columns = beside | {run.plan.segment_channel or "segment": "segment_path"}
    if run.plan.count_channel:
        columns[run.plan.count_channel] = "count_path"
    columns |= measured
    found: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {}
    for item in run.fields:
        images = run.records.made_from(item.field_id, "checks").get("images", {})
        found[item.field_id] = {
            channel: (str(rows[item.field_id][columns[channel]]), dict(noted))
            for channel, noted in images.items()
            if channel in columns and isinstance(noted, dict)
        }
    return found


def _inputs(run: FinishedRun) -> str:
    """Return the images of all fields with their SHA-256, as a table."""
    import csv
    import io

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["field_id", "channel", "file", "sha256"])
    for field_id, images in images_of(run).items():
        table.writerows([field_id, channel, address, noted.get("image", "")] for channel, (address, noted) in images.items())  # fmt: skip
        mask = run.records.made_from(field_id, "segment").get("mask")
        table.writerows([[field_id, "label image", "given", mask]] if mask else [])
    return text.getvalue()


def sentence(made: Bundled) -> str:
    """Say what was written."""
    return f"{made.path}: {number(made.files, 'file')}, {made.size / 1e6:.1f} MB, SHA-256 {made.sha256}; {made.weights}"
