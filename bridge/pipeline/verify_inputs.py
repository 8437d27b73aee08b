"""The images of a bundle's fields, found again below another folder and recognised by their hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.errors import BridgeError, InputError
from bridge.experiment.fields import Field, root_of
from bridge.files import sha256
from bridge.images.reader import inspect
from bridge.pipeline.bundle import images_of
from bridge.pipeline.finished_run import FinishedRun
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.verify import Difference
from bridge.source import ChannelFile, at_address
from bridge.tables import FIELDS, read_table


def with_images(run: FinishedRun, images: Path) -> tuple[list[Field], list[Difference]]:
    """Return the fields of a bundle whose images are those of the run, with them, and what is wrong with the others.

    Parameters
    ----------
    run : FinishedRun
        The unpacked bundle.
    images : Path
        The images, wherever they are now.
    """
    root, hashes = root_of(images), Hashes(run.out.parent)
    rows, items = rows_of(run), {item.field_id: item for item in run.fields}
    found, differences = [], []
    for field_id, noted in images_of(run).items():
        files: dict[str, ChannelFile] = {}
        wrong = []
        for channel, (address, facts) in noted.items():
            file, problem = _image(root, address, facts, hashes, run.folder.fields)
            if problem:
                wrong.append(f"{field_id}: {problem}")
            elif file is not None:
                files[channel] = file
        differences += [Difference("image", field_id, text) for text in wrong]
        if wrong:
            continue
        row = rows[field_id]
        plan = run.plan
        found.append(
            replace(
                items[field_id],
                segment=replace(cells, also=tuple(files[c] for c in plan.segment_with if c in files))
                if row["segment_path"] and (cells := files.get(plan.segment_channel or "segment")) else None,
                measure={c: files[c] for c in plan.measure_channels if c in files},
                count=files.get(plan.count_channel) if plan.count_channel else None,
                height_px=int(row["height_px"]), width_px=int(row["width_px"]), dtype=str(row["dtype"]),
                pixel_size_um=None if row["pixel_size_um"] != row["pixel_size_um"] else float(row["pixel_size_um"]),
            )
        )  # fmt: skip
    return found, differences


def rows_of(run: FinishedRun) -> dict[str, dict[Any, Any]]:
    """Return the rows of `fields.csv` by ``field_id``."""
    return {row["field_id"]: row for row in read_table(run.folder.fields, FIELDS).to_dict("records")}


def _image(
    root: Path, address: str, facts: Mapping[str, Any], hashes: Hashes, said_by: Path
) -> tuple[ChannelFile | None, str]:
    """Return an image of a field, or what is wrong with it."""
    try:
        file = at_address(root, address, said_by, facts.get("channel"))
    except InputError:
        return None, f"{address} is not below the folder of the images (got {root}, expected it there). Name the folder that holds it with --images."  # fmt: skip
    if not file.path.exists():
        return None, f"{address} is not there (got nothing in {root}, expected an image of the run). Bring it back, or check --images."  # fmt: skip
    try:
        digest = hashes.of(file.path, inspect(file).parts)
    except BridgeError:  # no image any more, so certainly another file
        digest = hashes.of(file.path)
    expected = str(facts.get("image"))
    if digest != expected:
        return None, f"{address} is not the image of the run (got SHA-256 {digest[:12]}..., expected SHA-256 {expected[:12]}...). Bring the original back."  # fmt: skip
    return file, ""


def weights_by_digest(content: Mapping[str, Any], weights: Sequence[Path]) -> dict[str, Path]:
    """Return files of weights by their SHA-256, each that of a network of the run.

    Raises
    ------
    InputError
        It is of none of them.
    """
    wanted = {str(model.get("sha256")) for model in content["models"].values()}
    found = {}
    for path in weights:
        got = sha256(path) if path.is_file() else "no file"
        if got not in wanted:
            expected = " or ".join(f"{digest[:12]}..." for digest in sorted(wanted))
            raise InputError(f"{path}: not the weights of this run (got {got[:12]}, expected SHA-256 {expected}). Check the path given with --weights.")  # fmt: skip
        found[got] = path
    return found
