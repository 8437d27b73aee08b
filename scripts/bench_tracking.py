"""Follow the cells of made movies, by this program, by laptrack and by trackpy: links, divisions, seconds, memory.

    uv run --with laptrack --with trackpy python scripts/bench_tracking.py --frames 50 --size 768 --cells 260
    uv run --with laptrack --with trackpy python scripts/bench_tracking.py --frames 100 --size 2048 --cells 1000 --only ours

Each method runs in a process of its own on the same label images. laptrack and trackpy get centroids, and a longest move of
one cell diameter, as ours has it; laptrack also links over gaps and looks for divisions.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console

from bridge.synthetic_movie import synthetic_movie
from bridge.tracking.scores import score_tracks

app = App(help=__doc__)
console = Console()
MOVIES: dict[str, Any] = {
    "slow": {},
    "fast": {"step_px": 11.0},
    "drift": {"drift_px": 8.0},
    "slow, errors": {"errors": True},
    "fast, errors": {"step_px": 11.0, "errors": True},
}
WORK = """
import sys, time
import numpy as np, pandas as pd
which, folder = sys.argv[1:]
frames = np.load(f"{folder}/labels.npy", mmap_mode="r")
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 2**20
if which == "ours":
    from bridge.tracking.follow import follow
    begin = time.perf_counter()
    found = follow(len(frames), lambda k: np.asarray(frames[k])).tracks
else:
    from bridge.tracking.link import cells_of
    cells = [cells_of(np.asarray(labels)) for labels in frames]
    table = pd.concat([pd.DataFrame({"frame": k, "label": c.label, "y": c.y_px, "x": c.x_px}) for k, c in enumerate(cells)], ignore_index=True)
    reach = float(np.median([2 * np.sqrt(np.median(c.area_px) / np.pi) for c in cells]))
    if which == "laptrack":
        from laptrack import LapTrack
        begin = time.perf_counter()
        tracker = LapTrack(cutoff=reach**2, gap_closing_cutoff=reach**2, gap_closing_max_frame_count=2, splitting_cutoff=(1.5 * reach)**2)
        tracks, splits, _ = tracker.predict_dataframe(table, ["y", "x"], frame_col="frame", only_coordinate_cols=False)
        found = tracks.reset_index(drop=True)
        found["track_id"] = found["track_id"] + 1
        parents = {a + 1: b + 1 for a, b in zip(splits["child_track_id"], splits["parent_track_id"])} if len(splits) else {}
        found["parent_track_id"] = found["track_id"].map(parents).fillna(0).astype(int)
        found["frame"] = found["frame"] if "frame" in found else found["frame_y"]
    else:
        import trackpy
        trackpy.quiet()
        begin = time.perf_counter()
        linked = trackpy.link(table, reach, pos_columns=["y", "x"], memory=2)
        found = linked.assign(track_id=linked["particle"] + 1, parent_track_id=0)
print(time.perf_counter() - begin, peak())
found[["frame", "label", "track_id", "parent_track_id"]].to_csv(f"{folder}/found.csv", index=False)
"""


@app.default
def main(
    frames: int = 50,
    size: int = 768,
    cells: int = 260,
    only: Annotated[list[str], Parameter(consume_multiple=True)] = ["ours", "laptrack", "trackpy"],  # noqa: B006
    movies: Annotated[list[str], Parameter(consume_multiple=True)] = list(MOVIES),  # noqa: B006
    seed: int = 7,
) -> None:
    for name in movies:
        movie = synthetic_movie(seed, frames, size, cells, **MOVIES[name])
        truth = movie.truth.rename(columns={"cell": "track_id", "parent": "parent_track_id"})
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/labels.npy", np.stack(movie.labels))
            for which in only:
                done = subprocess.run([sys.executable, "-W", "ignore", "-c", WORK, which, folder], capture_output=True, text=True)  # fmt: skip
                if done.returncode:
                    console.print(f"{name}, {which}: failed ({done.stderr.strip().splitlines()[-1]})")
                    continue
                took, peak = map(float, done.stdout.split()[-2:])
                s = score_tracks(truth, pd.read_csv(Path(folder) / "found.csv"))
                console.print(
                    f"{name}, {which}: {len(truth)} cells, {took:.1f} s, {peak:.2f} GB; F1 of links {s.link_f1:.4f} ({s.links_wrong} wrong, {s.links_missed} missed); divisions {s.divisions_right} right of {s.divisions_found} found, {s.divisions_true} true",
                    highlight=False,
                )


if __name__ == "__main__":
    app()
