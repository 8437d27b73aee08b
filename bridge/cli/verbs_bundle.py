"""Verbs for what is published: bundle, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bridge.cli.console import OUT, complain, progress_bar, say
from bridge.cli.main import app
from bridge.cli.options import GENERAL
from bridge.names import number


@app.command(sort_key=10.6)
def bundle(
    results: Path,
    *,
    out: Annotated[Path, Parameter(group=GENERAL, help="The zip; must not exist.")],
    weights: Annotated[
        bool,
        Parameter(group=GENERAL, help="Put the weights of a network of your own into it; those with a name are known."),
    ] = True,
    author: Annotated[
        list[str] | None, Parameter(group=GENERAL, consume_multiple=True, negative=(), help="Whose results these are.")
    ] = None,
    licence: Annotated[
        str | None, Parameter(group=GENERAL, help="Address of the licence under which the results are.")
    ] = None,
) -> int:
    """A finished run as one file to publish (RO-Crate): tables, ROI sets, label images, records, what to cite."""
    from bridge.pipeline.bundle import bundle as work
    from bridge.pipeline.bundle import sentence

    made = work(results, out, weights, author or (), licence)
    for text in made.notes:
        say(f"Warning: {text}")
    OUT.print(sentence(made))
    return 0


@app.command(sort_key=10.7)
def verify(
    bundle: Path,
    *,
    images: Annotated[
        Path | None,
        Parameter(group=GENERAL, help="Folder of the images, wherever it is now: every field is computed again."),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        Parameter(
            group=GENERAL,
            consume_multiple=True,
            negative=(),
            help="Weights of a network of one's own, where the bundle is without them.",
        ),
    ] = None,
) -> int:
    """Check a bundle: its files, its tables, and with the images every cell and number."""
    from bridge.pipeline.verify import verify as work

    with progress_bar() as progress:
        found = work(bundle, images, progress, weights or ())
    for text in found.notes:
        say(f"Note: {text}")
    for difference in found.differences:
        complain(difference.message)
    OUT.print(f"{found.bundle}: SHA-256 {found.sha256}")
    OUT.print(f"{number(found.files, 'file')}: {found.differ('file')} changed. {number(found.tables, 'table')} made again: {found.differ('table')} differ.")  # fmt: skip
    if images is not None:
        OUT.print(f"{number(found.differ('image'), 'image')} changed or missing. {number(found.fields, 'field')} measured again: {found.cells_differ} of {number(found.cells, 'cell')} differ. {number(found.segmented, 'field')} segmented again: {found.differ('segmentation')} label images differ.")  # fmt: skip
    return found.exit_code
