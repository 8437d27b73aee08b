"""Frees the space of what a run can make again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.pipeline.finished_run import open_run
from bridge.pipeline.lock import locked, shards_folder
from bridge.pipeline.seen import SEEN

# What is drawn, or computed, from the images and the files that stay.
_AGAIN = {
    "overlays": ("overlays/**/*", "outlines on the images, contact sheets"),
    "pictures": ("pictures/**/*", "pictures of the page; the page itself stays"),
    "subtracted": ("measurements/**/*_subtracted.tif", "background-subtracted images"),
    "network": (
        "network/*.npz",
        "what the networks said of the images (--keep-network); kept anew when they look again",
    ),
    "seen": (f"records/{SEEN}/*", "what was noted of sizes and times"),
}


@dataclass(frozen=True)
class Freed:
    """What can be freed, or was.

    Attributes
    ----------
    name, what : str
    files : int
    size : int
        Bytes.
    """

    name: str
    what: str
    files: int
    size: int


def clean(results: Path | str, yes: bool = False) -> list[Freed]:
    """Remove what the command of a finished run makes again; label images, ROI sets, Results and tables stay.

    Parameters
    ----------
    results : Path or str
    yes : bool
        False only tells how much it is.

    Returns
    -------
    list of Freed

    Raises
    ------
    InputError
        It is not the folder of a finished run.
    OutputError
        A run is writing to it.
    """
    out = open_run(Path(results)).out
    freed = []
    with locked(out):
        for name, (pattern, what) in _AGAIN.items():
            files = [path for path in sorted(out.glob(pattern)) if path.is_file()]
            freed.append(Freed(name, what, len(files), sum(path.stat().st_size for path in files)))
            for path in files if yes else ():
                path.unlink()
        for path in shards_folder(out).glob("*.json") if yes else ():
            path.unlink()
    return freed
