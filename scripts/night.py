"""A simulated night: many small fields with given label images, in two plain processes and under Dask with two workers.

    uv run python scripts/night.py [--fields 10000] [--rounds 1] [--folder DIR]

Prints fields a second of both, in turn, and how the memory of the scheduler's process and of the workers grows.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile

from bridge.synthetic import synthetic_field

SIDE_PX, DIFFERENT = 128, 20


def make_fields(folder: Path, n: int) -> None:
    """Write n fields of six conditions, and their label images; few of them differ, so that it is quick."""
    made = [synthetic_field(seed=k, size_px=SIDE_PX, n_cells=5) for k in range(DIFFERENT)]
    masks = folder / "masks"
    masks.mkdir(parents=True)
    for k in range(n):
        condition = f"c{k % 6}"
        images = folder / "images" / condition
        images.mkdir(parents=True, exist_ok=True)
        field, name = made[k % DIFFERENT], f"w{k:06d}"
        shift = np.uint16(k // DIFFERENT % 500)  # no two images are copies of each other
        tifffile.imwrite(images / f"{name}_phase.tif", field.phase + shift)
        tifffile.imwrite(images / f"{name}_EdU.tif", field.edu + shift)
        tifffile.imwrite(masks / f"{condition}_{name}_mask.tif", field.cells)


def memory_mb(pid: int) -> tuple[float, float]:
    """What a process holds, and those that it started."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        own = process.memory_info().rss / 1e6
        others = 0.0
        for each in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                others += each.memory_info().rss / 1e6
        return own, others
    return 0.0, 0.0


def timed(commands: list[list[str]], watch: list[tuple[float, float, float]] | None = None) -> float:
    """Run commands at the same time; return the seconds until all have ended."""
    began = time.perf_counter()
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for command in commands
    ]
    over = threading.Event()

    def look() -> None:
        while not over.wait(5) and watch is not None:
            watch.append((time.perf_counter() - began, *memory_mb(running[0].pid)))

    threading.Thread(target=look, daemon=True).start()
    for process in running:
        _, said = process.communicate()
        if process.returncode:
            sys.exit(said)
    over.set()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="A simulated night.")
    parser.add_argument("--fields", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="night-"))
    if not (folder / "images").exists():
        make_fields(folder, given.fields)
    program = [sys.executable, "-m", "bridge"]
    run = ["run", str(folder / "images"), "--masks", str(folder / "masks"), "--count", "none", "--engine", "native",
           "--edu-threshold", "300"]  # fmt: skip
    rates: dict[str, list[float]] = {"plain": [], "dask": []}
    for k in range(given.rounds):
        out = folder / f"plain{k}"
        seconds = timed([[*program, *run, "--out", str(out), "--shard", f"{part}/2"] for part in (1, 2)])
        rates["plain"].append(given.fields / seconds)
        shutil.rmtree(out)
        out, watch = folder / f"dask{k}", list[tuple[float, float, float]]()
        seconds = timed([[*program, *run, "--out", str(out), "--shard", "1/1", "--cluster", "local:2"]], watch)
        rates["dask"].append(given.fields / seconds)
        for at, own, others in watch[:: max(1, len(watch) // 10)]:
            print(f"  {at:6.0f} s  client and scheduler {own:6.0f} MB  nannies and workers {others:6.0f} MB")
        shutil.rmtree(out)
        print(f"round {k + 1}: plain {rates['plain'][-1]:.1f}, dask {rates['dask'][-1]:.1f} fields a second")
    plain, dask = (statistics.median(rates[name]) for name in ("plain", "dask"))
    print(f"{given.fields} fields: plain {plain:.1f}, dask {dask:.1f} fields a second: {dask / plain:.2f}")


if __name__ == "__main__":
    main()
