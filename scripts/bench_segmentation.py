"""Time what makes the masks against Cellpose's own: its dynamics, its memory, an epoch of training.

    uv run python scripts/bench_segmentation.py dynamics
    uv run python scripts/bench_segmentation.py network --device cuda
    uv run python scripts/bench_segmentation.py whole-run FOLDER
    uv run python scripts/bench_segmentation.py memory --sizes 4096
    uv run python scripts/bench_segmentation.py training --rounds 3

The network itself, on every real field, is compared by `same_masks.py`. Candidates take turns in one process; the median
counts. Memory is the peak of a process of its own. With Cellpose 4 (`uv run --with 'cellpose>=4.2.1,<4.3' python
scripts/bench_segmentation.py dynamics`) its flow check is compared.
"""

from __future__ import annotations

import shutil
import statistics as st
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import App, Parameter
from rich.console import Console

from bridge.segmentation.backend import Prediction, labels_of, load_backend
from bridge.segmentation.dynamics.masks import masks_of, without_bad_flows
from bridge.segmentation.dynamics.shape_flows import targets_of_labels
from bridge.segmentation.models import cellpose_version, resolve_model
from bridge.synthetic import synthetic_field

app = App(help=__doc__)
console = Console()
CPU = torch.device("cpu")
WHOLE = (slice(None), slice(None))


def take_turns(candidates: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each candidate, and how many cores were busy: two threads can share one core of a machine."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for work in candidates.values():
        work()
    for _ in range(repeats):
        for name, work in candidates.items():
            begin, processor = time.perf_counter(), time.process_time()
            work()
            times[name].append(time.perf_counter() - begin)
            busy = (time.process_time() - processor) / times[name][-1]
            console.print(f"  {name}: {times[name][-1]:.3f} s, {busy:.2f} cores", highlight=False)
    return {name: st.median(found) for name, found in times.items()}


def said(size: int, n_cells: int, seed: int = 3) -> Prediction:
    """What a network says about made cells."""
    labels = synthetic_field(seed=seed, size_px=size, n_cells=n_cells).cells
    targets, rng = targets_of_labels(labels), np.random.default_rng(seed)
    flows = 5 * targets[1:] + rng.normal(0, 1.2, targets[1:].shape).astype(np.float32)
    return Prediction(flows, 12 * targets[0] - 6, 200)


@app.command
def dynamics(size: int = 2048, n_cells: int = 1100, repeats: int = 5) -> None:
    """Masks from what the network said, without it."""
    p = said(size, n_cells)
    if cellpose_version()[0] == 3:
        ours, _ = masks_of(p.flows, p.cellprob, 200, 0.4, 0.0, WHOLE)
        theirs, _ = labels_of(p, 0.4, 0.0, CPU)
        times = take_turns(
            {
                "Cellpose": lambda: labels_of(p, 0.4, 0.0, CPU),
                "ours": lambda: masks_of(p.flows, p.cellprob, 200, 0.4, 0.0, WHOLE),
            },
            repeats,
        )
    else:
        from cellpose.dynamics import remove_bad_flow_masks

        labels, _ = labels_of(p, 0.0, 0.0, CPU)
        theirs = remove_bad_flow_masks(labels.copy(), p.flows, 0.4, CPU)
        ours = without_bad_flows(labels, p.flows, 0.4, 4)
        times = take_turns(
            {
                "Cellpose": lambda: remove_bad_flow_masks(labels.copy(), p.flows, 0.4, CPU),
                "ours": lambda: without_bad_flows(labels, p.flows, 0.4, 4),
            },
            repeats,
        )
    same = np.array_equal(theirs > 0, ours > 0) and np.unique(theirs).size == np.unique(ours).size
    console.print(f"{size} x {size}, {theirs.max()} cells: {times['Cellpose']:.2f} s against {times['ours']:.3f} s, {times['Cellpose'] / times['ours']:.1f} times; same masks: {same}")  # fmt: skip


@app.command
def network(device: str = "cpu", size: int = 1024, model: str = "cyto_0", repeats: int = 5) -> None:
    """Flows of one field by each of what can compute the network there; how much they differ from those of torch."""
    image = synthetic_field(seed=5, size_px=size, n_cells=size**2 // 4000).phase.astype(np.float32)
    ways: tuple[tuple[Any, Any], ...] = (("torch", "exact"), ("compile", "exact"))
    if device == "cpu":
        ways = (*ways, ("openvino", "exact"), ("openvino", "fast"))
    backends = {f"{how}, {precision}": load_backend(resolve_model(model), device, how, precision) for how, precision in ways}  # fmt: skip
    looks = {name: partial(backend.predict, image, 37.0, 8, True) for name, backend in backends.items()}
    said_by = {name: look().flows for name, look in looks.items()}
    for name, took in (times := take_turns(looks, repeats)).items():
        apart = float(np.abs(said_by[name] - said_by["torch, exact"]).max())
        console.print(f"{name} ({backends[name].inference}): {took:.3f} s, {times['torch, exact'] / took:.2f} times; flows {apart:.1e} apart")  # fmt: skip


@app.command
def whole_run(images: Path, fields: int = 30, diameter: float = 30.0, model: str = "cyto_0", rounds: int = 3) -> None:
    """`bridge.run` of single-channel images, tables and pictures included, against a loop over Cellpose's eval alone."""
    import tempfile

    from cellpose import models

    import bridge
    from bridge.images.reader import read_plane

    given = sorted(path for path in images.iterdir() if path.suffix.lower() in (".png", ".tif"))[:fields]
    cellpose = models.CellposeModel(device=CPU, pretrained_model=str(resolve_model(model).path))
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "images" / "control"
        there.mkdir(parents=True)
        planes = [read_plane(Path(shutil.copy(path, there)), measured=False).pixels for path in given]
        options: dict[str, Any] = {"pattern": "{condition}/{field}" + given[0].suffix, "segment": "1", "measure": "1", "count": "none", "diameter": diameter, "model": model}  # fmt: skip
        times = take_turns(
            {
                "Cellpose": lambda: [cellpose.eval(plane, diameter=diameter, channels=[0, 0]) for plane in planes],
                "run": lambda: bridge.run(there.parent, tempfile.mkdtemp(dir=folder), **options),
                "run, fast": lambda: bridge.run(
                    there.parent, tempfile.mkdtemp(dir=folder), precision="fast", **options
                ),
            },
            rounds,
        )
    for name in ("run", "run, fast"):
        console.print(f"{len(given)} fields: {times['Cellpose']:.1f} s of eval, {name} {times[name]:.1f} s, {times['Cellpose'] / times[name]:.2f} times")  # fmt: skip


PEAK = """
import sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
which, size, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
image = np.tile(np.load(f"{folder}/tile.npy"), (-(-size // 512),) * 2)[:size, :size]
def peak():
    # The peak of this process alone: ru_maxrss begins at the parent's.
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 2**20
if which == "Cellpose":
    import torch
    from cellpose import models
    from bridge.segmentation.models import resolve_model
    model = models.CellposeModel(device=torch.device("cpu"), pretrained_model=str(resolve_model("cyto_0").path))
    before, begin = peak(), time.perf_counter()
    found = model.eval(image, diameter=37.0, channels=[0, 0])[0]
else:
    from bridge.segmentation.segmenter import Segmenter
    segmenter = Segmenter("cyto_0", "cpu", which)
    before, begin = peak(), time.perf_counter()
    found = segmenter.segment(image, 37.0).labels
print(before, peak(), time.perf_counter() - begin, found.max())
"""


@app.command
def memory(
    sizes: Annotated[list[int], Parameter(consume_multiple=True)] = [4096],  # noqa: B006 read only
    which: Annotated[list[str], Parameter(consume_multiple=True)] = ["Cellpose", "openvino", "torch"],  # noqa: B006
) -> None:
    """Peak memory of segmenting one large field, each in a process of its own."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/tile.npy", synthetic_field(seed=5, size_px=512, n_cells=68).phase)
        for size in sizes:
            for name in which:
                done = subprocess.run([sys.executable, "-c", PEAK, name, str(size), folder], capture_output=True, text=True)  # fmt: skip
                if done.returncode:
                    console.print(f"{size} x {size}, {name}: failed ({done.stderr.strip().splitlines()[-1]})")
                    continue
                before, peak, took, n = map(float, done.stdout.split()[-4:])
                console.print(f"{size} x {size}, {name}: {peak:.2f} GB at most ({before:.2f} before), {took:.0f} s, {n:.0f} cells")  # fmt: skip


EPOCHS = """
import contextlib, hashlib, logging, statistics, sys, time, torch
from bridge.segmentation.memory_pages import kept_pages
from bridge.segmentation.recipe import Recipe
from bridge.segmentation.segmenter import Segmenter
from bridge.synthetic import synthetic_field
how = sys.argv[1]
fields = [synthetic_field(seed=k, size_px=1024, n_cells=270) for k in range(5)]
recipe = Recipe("sgd", (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06), 1e-4, 8, 224, 8, precision="fast" if how == "fast" else "exact")
segmenter = Segmenter("cyto_0", "cpu")
begin = time.perf_counter()
targets = [segmenter.targets(field.cells) for field in fields]
flows_s = time.perf_counter() - begin
training = segmenter.training([field.phase for field in fields], targets, [37.0] * 5, recipe)
begun = {k: v.detach().clone().contiguous() for k, v in segmenter._backend.net.state_dict().items()}
with kept_pages() if how != "as it is" else contextlib.nullcontext():
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        training.run_epoch()
        times.append(time.perf_counter() - begin)
weights = {k: v.detach().contiguous() for k, v in segmenter._backend.net.state_dict().items()}
torch.save((begun, weights), sys.argv[2])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(statistics.median(times[2:]), int(peak) / 2**20, flows_s)
"""


@app.command
def training(rounds: int = 3) -> None:
    """Time an epoch of 8 crops of 224 px: with and without kept pages, exact and fast."""
    import tempfile

    times: dict[str, list[float]] = {"as it is": [], "kept pages": [], "fast": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for how, found in times.items():
                done = subprocess.run([sys.executable, "-W", "ignore", "-c", EPOCHS, how, f"{folder}/{how}.pt"], capture_output=True, text=True, check=True)  # fmt: skip
                epoch_s, peak, flows_s = map(float, done.stdout.split()[-3:])
                found.append(epoch_s)
                console.print(f"  {how}: {epoch_s:.2f} s an epoch, {peak:.1f} GB at most, flows of the labels {flows_s:.2f} s")  # fmt: skip
        begun, exact = torch.load(f"{folder}/as it is.pt")
        for how, found in times.items():
            weights = torch.load(f"{folder}/{how}.pt")[1]
            moved = sum(float((exact[k].double() - begun[k].double()).square().sum()) for k in exact) ** 0.5
            apart = sum(float((exact[k].double() - weights[k].double()).square().sum()) for k in exact) ** 0.5
            ratio = st.median(a / b for a, b in zip(times["as it is"], found, strict=True))
            console.print(f"{how}: {st.median(found):.2f} s an epoch, {ratio:.2f} times; weights {apart / moved:.2%} of their way apart")  # fmt: skip


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    app()
