"""Time every step against what people use instead, and check that the results are exact.

    uv run --group bench scripts/bench.py                  all of it: about 15 minutes
    uv run --group bench scripts/bench.py --sizes 1024     a first look

Ratios come from one run: the two candidates take turns, the median counts. Ours runs on one thread. Java is timed by
`System.nanoTime` in a process of its own, after five warm-ups, so that no Python collection falls into it; Cellpose's
`save_rois` in this process, which holds no JVM. The usual way through ImageJ's window needs a display: `xvfb-run`.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import statistics as st
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numba
import numpy as np
import numpy.typing as npt
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from bridge.imagej.fiji import FijiEngine
from bridge.imagej.java import java_home
from bridge.imagej.maven import IMAGEJ_VERSION, core_jars
from bridge.imagej.native import NativeEngine
from bridge.imagej.rolling_ball import subtract_background
from bridge.imagej.statistics import statistics
from bridge.labels import Labels
from bridge.rois.encode import encode_rings
from bridge.rois.roiset import decode_roiset, encode_roiset, selections_of, verify_roiset
from bridge.rois.trace import trace_rings
from bridge.segmentation.memory_pages import kept_pages
from bridge.source import Source

app = App(help=__doc__)
console = Console()
Image = npt.NDArray[Any]

CELLS = {1024: 1_000, 2048: 1_100, 10_000: 50_000}
RADIUS = 50.0
WARM_UPS = 5
# What people do: open, subtract, ROI Manager, Measure, save.
BY_HAND = """
open("{image}");
run("Subtract Background...", "rolling=50");
run("Set Measurements...", "area mean standard min integrated display redirect=None decimal=3");
run("Clear Results");
roiManager("reset");
roiManager("open", "{roiset}");
roiManager("deselect");
roiManager("multi-measure measure_all");
saveAs("Results", "{results}");
close("*");
"""


# ---------------------------------------------------------------- images


def make_labels(side: int, n_cells: int, seed: int = 7) -> Labels:
    """Touching cells that cover three quarters of the image; every tenth with holes or in parts; single pixels."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    pitch = side / np.sqrt(n_cells)
    centre = rng.uniform(0, side, (n_cells, 2))
    radius = 0.62 * pitch * np.exp(rng.normal(0, 0.2, n_cells))
    tree = cKDTree(centre)
    labels = np.zeros((side, side), np.uint16 if n_cells < 60_000 and side < 5000 else np.uint32)
    for top in range(0, side, 250):
        y, x = np.mgrid[top : min(side, top + 250), :side]
        wobble = 2.5 * np.sin(x / 5) + 2.5 * np.cos(y / 7)
        distance, nearest = tree.query(np.stack([y.ravel() + wobble.ravel(), x.ravel() - wobble.ravel()], axis=1))
        labels[top : top + 250] = np.where(distance < radius[nearest], nearest + 1, 0).reshape(-1, side)
    for k in range(n_cells):
        y, x = (int(v) for v in centre[k])
        kind = rng.integers(50)
        r = max(2, int(0.3 * radius[k]))
        window = labels[max(0, y - r) : y + r, max(0, x - r) : x + r]
        if kind < 2:  # a hole
            window[window == k + 1] = 0
        elif kind == 2:  # two holes that touch at a corner
            for d in range(2):
                spot = labels[y + d : y + d + 1, x + d : x + d + 1]
                spot[spot == k + 1] = 0
        elif kind < 5:  # two parts
            band = labels[y : y + 2]
            band[band == k + 1] = 0
        elif kind == 5:  # one pixel
            box = labels[max(0, y - 4 * r) : y + 4 * r, max(0, x - 4 * r) : x + 4 * r]
            box[box == k + 1] = 0
            labels[y, x] = k + 1
    return labels


def make_image(labels: Labels, seed: int = 11) -> npt.NDArray[np.uint16]:
    """Fluorescence: an uneven background, a third of the cells bright, shot noise."""
    rng = np.random.default_rng(seed)
    n = int(labels.max()) + 1
    light = np.where(rng.random(n) < 0.35, np.exp(rng.normal(8.3, 0.7, n)), np.exp(rng.normal(5, 0.5, n)))
    light[0] = 0
    image = np.empty(labels.shape, np.uint16)
    x = np.linspace(-1, 1, labels.shape[1], dtype=np.float32)
    for row, line in enumerate(labels):
        y = 2 * row / labels.shape[0] - 1
        level = 900 + 350 * x - 220 * y + 260 * np.sin(2 * x + 1) * np.cos(1.7 * y) + light[line]
        image[row] = np.clip(level + rng.standard_normal(x.size, dtype=np.float32) * np.sqrt(level), 0, 65535)
    return image


# ---------------------------------------------------------------- timing


def take_turns(candidates: dict[str, Callable[[], float | None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each candidate, in turns; one that times itself (in Java) returns them."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for work in candidates.values():
        work()
    for _ in range(repeats):
        for name, work in candidates.items():
            begin = time.perf_counter()
            own = work()
            times[name].append(time.perf_counter() - begin if own is None else own)
    return times


def row(
    step: str, size: int, ours: list[float], theirs: list[float] | None, against: str, exact: str
) -> dict[str, Any]:
    mine = st.median(ours)
    found: dict[str, Any] = {"step": step, "size": size, "ours_ms": mine * 1e3, "against": against, "exact": exact}
    if theirs is not None:
        found |= {
            "theirs_ms": st.median(theirs) * 1e3,
            "ratio": st.median(b / a for a, b in zip(ours, theirs, strict=True)),
            "ours_ms_all": [t * 1e3 for t in ours],
            "theirs_ms_all": [t * 1e3 for t in theirs],
        }
    console.print(
        f"{size}: {step}: {mine * 1e3:.1f} ms", f"{found.get('ratio', 0):.1f} x faster than {against}; {exact}"
    )
    return found


class Java:
    """ImageJ in a process of its own, which times each call itself; with a window where asked for."""

    def __init__(self, folder: Path, window: bool) -> None:
        command = [sys.executable, __file__, "java", str(folder), "--window" if window else "--no-window"]
        if window:
            command = ["xvfb-run", "-a", *command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read("ready")

    def read(self, mark: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(f"{mark} "):
                return line.removeprefix(f"{mark} ")
        raise RuntimeError("the Java process ended")

    def ask(self, **request: Any) -> float:
        """Seconds by `System.nanoTime`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return float(self.read("took"))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@app.command(show=False)
def java(folder: Path, window: bool = False) -> None:
    """The process of `Java`: answers requests from its input."""
    import gc

    home = java_home()
    os.environ["JAVA_HOME"] = str(home)
    import jpype

    gc.disable()
    headless = [] if window else ["-Djava.awt.headless=true"]
    jpype.startJVM(*headless, "-Xmx8g", "--enable-native-access=ALL-UNNAMED", classpath=[str(j) for j in core_jars()], convertStrings=False)  # fmt: skip
    j = jpype.JClass
    if window:
        j("ij.ImageJ")()
    clock = j("java.lang.System").nanoTime
    kept: dict[str, Any] = {}
    print("ready .", flush=True)
    for text in sys.stdin:
        request = json.loads(text)
        if request["do"] == "macro":
            begin = clock()
            j("ij.IJ").runMacro(request["text"])
        else:
            if request["image"] not in kept:
                kept[request["image"]] = np.load(folder / request["image"])
            pixels = kept[request["image"]]
            height, width = pixels.shape
            kind, array = {
                "uint8": ("Byte", jpype.JByte), "uint16": ("Short", jpype.JShort), "float32": ("Float", jpype.JFloat)
            }[str(pixels.dtype)]  # fmt: skip
            signed = pixels.view({"uint8": np.int8, "uint16": np.int16, "float32": np.float32}[str(pixels.dtype)])
            processor = j(f"ij.process.{kind}Processor")(width, height, jpype.JArray(array)(signed.ravel()), None)
            if request["do"] == "roll":
                subtracter = j("ij.plugin.filter.BackgroundSubtracter")()
                begin = clock()
                subtracter.rollingBallBackground(processor, RADIUS, False, False, False, True, True)
            else:
                content = (folder / request["rois"]).read_bytes()
                offset = json.loads((folder / f"{request['rois']}.json").read_text())
                overlay = j("ij.gui.Overlay")()
                for a, b in itertools.pairwise(offset):
                    overlay.add(j("ij.io.RoiDecoder")(content[a:b], "x").getRoi())
                image = j("ij.ImagePlus")("a", processor)
                j("ij.plugin.filter.Analyzer").setMeasurements(1 | 2 | 4 | 16 | 32768)
                begin = clock()
                overlay.measure(image)
        print("took", (clock() - begin) / 1e9, flush=True)
    os._exit(0)


# ---------------------------------------------------------------- the steps


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _read_once(words: Any) -> Any:
    total = np.uint64(0)
    for i in range(words.size):
        total ^= words[i]
    return total


def steps_of(side: int, repeats: int, folder: Path, window: bool) -> list[dict[str, Any]]:
    import tifffile

    labels = make_labels(side, CELLS[side])
    image = make_image(labels)
    cells = selections_of(labels)
    n = len(cells.names)
    words = np.ascontiguousarray(labels).view(np.uint64).ravel()
    rows = []

    # Labels -> rings
    import rasterio.features

    def shapes() -> None:
        kind = np.int32 if labels.dtype == np.uint32 else labels.dtype
        for geometry, _ in rasterio.features.shapes(labels.astype(kind, copy=False), mask=labels > 0, connectivity=8):
            for ring in geometry["coordinates"]:
                np.asarray(ring)

    def limit() -> None:
        _read_once(words)

    def trace() -> None:
        trace_rings(labels)

    # A large image warms Java up in one call.
    few, warm_ups = (3, 1) if side > 5000 else (repeats, WARM_UPS)
    times = take_turns({"ours": trace, "rasterio": shapes, "limit": limit}, few)
    verify_roiset(cells, labels)
    rows.append(row("labels to rings", side, times["ours"], times["rasterio"], "rasterio.features.shapes", f"{n} of {n} labels exact"))  # fmt: skip
    rows[-1]["reading_the_labels_once_ms"] = st.median(times["limit"]) * 1e3
    console.print(f"  reading the label image once: {st.median(times['limit']) * 1e3:.2f} ms, {st.median(times['limit']) / st.median(times['ours']):.1%} of ours")  # fmt: skip

    # Rings -> zip
    from roifile import ImagejRoi, roiwrite

    rings = trace_rings(labels)
    mine, others = folder / "ours.zip", folder / "theirs.zip"

    def encode() -> None:
        mine.write_bytes(encode_rings(rings))

    corners = np.stack([rings.x, rings.y], axis=1)
    start = rings.start.tolist()

    def with_roifile() -> None:
        rois = [
            ImagejRoi.frompoints(corners[a:b], name=f"{k:05d}") for k, (a, b) in enumerate(itertools.pairwise(start))
        ]
        others.unlink(missing_ok=True)
        roiwrite(others, rois)

    times = take_turns({"ours": encode, "roifile": with_roifile}, few)
    rows.append(row("rings to zip", side, times["ours"], times["roifile"], "roifile frompoints + roiwrite", "ImageJ's own bytes"))  # fmt: skip

    # Labels -> zip, against Cellpose
    def both_steps() -> None:
        mine.write_bytes(encode_roiset(labels))

    cellpose_zip = folder / "cellpose_rois.zip"

    def save_rois() -> None:
        import contextlib
        import io
        import logging

        from cellpose import io as cellpose_io

        logging.disable(logging.INFO)
        cellpose_zip.unlink(missing_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            cellpose_io.save_rois(labels, str(folder / "cellpose"))

    if side <= 5000:
        times = take_turns({"ours": both_steps, "cellpose": save_rois}, repeats)
        exact = _exact(cellpose_zip, labels)
        rows.append(row("labels to ROI set", side, times["ours"], times["cellpose"], "cellpose.io.save_rois", f"ours {n} of {n} labels exact, theirs {exact}"))  # fmt: skip
        cellpose_s = times["cellpose"]
    else:
        console.print(f"{side}: cellpose.io.save_rois not run (about 0.3 s for each of {n} labels)")

    # Rolling ball and Measure, against Java
    engine = Java(folder, window=False)
    (folder / "rois").write_bytes(cells.encoded)
    (folder / "rois.json").write_text(json.dumps(cells.offset.tolist()))
    for name, kind in (("8-bit", np.uint8), ("16-bit", np.uint16), ("32-bit", np.float32)):
        pixels = (image >> 4).clip(0, 255).astype(np.uint8) if kind == np.uint8 else image.astype(kind)
        np.save(folder / f"{name}.npy", pixels)

        def roll(pixels: Image = pixels) -> None:
            subtract_background(pixels)

        def java_roll(name: str = name) -> float:
            return engine.ask(do="roll", image=f"{name}.npy")

        for _ in range(warm_ups):
            java_roll()
        # Java keeps its memory from call to call. Here a virtual machine may have given it to its host meanwhile, and to get
        # 0.4 GB back from there takes a second.
        with kept_pages():
            times = take_turns({"ours": roll, "java": java_roll}, few)
        rows.append(row(f"rolling ball, {name}", side, times["ours"], times["java"], "ImageJ's Java", "every bit (tests)"))  # fmt: skip
    subtracted = subtract_background(image)
    np.save(folder / "subtracted.npy", subtracted)

    def measure() -> None:
        statistics(subtracted, cells)

    def java_measure() -> float:
        return engine.ask(do="measure", image="subtracted.npy", rois="rois")

    for _ in range(warm_ups):
        java_measure()
    times = take_turns({"ours": measure, "java": java_measure}, few)
    rows.append(row("measure", side, times["ours"], times["java"], "ImageJ's Java (Overlay.measure)", "every bit (tests)"))  # fmt: skip
    engine.close()

    # The whole field without the network
    tiff = folder / "EdU.tif"
    tifffile.imwrite(tiff, image, imagej=True)

    def field(engine: NativeEngine | FijiEngine, to: Path, source: Source | None = None) -> None:
        pixels = tifffile.imread(tiff)
        content = encode_roiset(labels)
        mine.write_bytes(content)
        found = decode_roiset(mine.read_bytes(), (side, side))
        verify_roiset(found, labels)
        to.write_bytes(engine.measure(pixels, found, "EdU.tif", source=source).results_csv)

    native = NativeEngine()
    with FijiEngine(memory="8g") as fiji:
        for _ in range(warm_ups):
            field(fiji, folder / "fiji.csv")
        candidates: dict[str, Callable[[], float | None]] = {
            "native": lambda: field(native, folder / "native.csv"),
            "imagej": lambda: field(fiji, folder / "fiji.csv"),
            # ImageJ opens the file itself, too, and must find the same pixels.
            "witnessed": lambda: field(fiji, folder / "fiji.csv", Source(tiff, 0, 1, "", None, False)),
        }
        shown = Java(folder, window=True) if window and side <= 5000 else None
        if shown is not None:
            text = BY_HAND.format(image=tiff, roiset=cellpose_zip, results=folder / "by_hand.csv")
            for _ in range(WARM_UPS):
                shown.ask(do="macro", text=text)
            candidates["macro"] = lambda: shown.ask(do="macro", text=text)
        times = take_turns(candidates, few)
        witness = st.median(times["witnessed"]) / st.median(times["imagej"]) - 1
        console.print(f"  ImageJ opening the file itself as a witness: {witness:+.1%} of a field through ImageJ")
        equal = (folder / "native.csv").read_bytes() == (folder / "fiji.csv").read_bytes()
        if shown is not None:
            shown.close()
            usual = [a + b for a, b in zip(cellpose_s, times["macro"], strict=True)]
            rows.append(row("whole field, native", side, times["native"], usual, "save_rois + macro in ImageJ's window", f"Results equal ImageJ's: {equal}"))  # fmt: skip
            rows.append(row("whole field, through ImageJ", side, times["imagej"], usual, "save_rois + macro in ImageJ's window", "ImageJ's own"))  # fmt: skip
        else:
            rows.append(row("whole field, native", side, times["native"], times["imagej"], "the same through ImageJ", f"Results equal ImageJ's: {equal}"))  # fmt: skip
    return rows


def _exact(roiset: Path, labels: Labels) -> int:
    """How many labels a ROI set holds to the pixel."""
    from bridge.rois.decode import decode_rois
    from bridge.rois.fill import fill
    from bridge.rois.unzip import unzip_rois

    entries = unzip_rois(roiset.read_bytes(), roiset.name)
    outlines = decode_rois(*entries, roiset.name).outlines
    row, left, right, first = fill(outlines, (labels.shape[0], labels.shape[1]))
    areas = np.bincount(labels.ravel())
    exact = 0
    for k in np.flatnonzero(np.diff(first)):
        runs = slice(first[k], first[k + 1])
        values = np.concatenate([labels[r, a:b] for r, a, b in zip(row[runs], left[runs], right[runs], strict=True)])
        ids, n = np.unique(values, return_counts=True)
        exact += ids.size == 1 and ids[0] > 0 and n[0] == areas[ids[0]]
    return exact


# ---------------------------------------------------------------- memory and start-up

PEAK = """
import sys, numpy as np
from bridge.imagej.fiji import FijiEngine
from bridge.imagej.native import NativeEngine
from bridge.rois.roiset import decode_roiset, encode_roiset, verify_roiset
import time
labels, image = np.load(sys.argv[1], mmap_mode=None), np.load(sys.argv[2])
engine = FijiEngine(memory="5g") if sys.argv[3] == "imagej" else NativeEngine()
with engine:
    for _ in range(2):
        begin = time.perf_counter()
        found = decode_roiset(encode_roiset(labels), labels.shape)
        verify_roiset(found, labels)
        engine.measure(image, found, "a.tif")
        took = time.perf_counter() - begin
    # Not getrusage: it starts from what the parent had.
    pids = ["self", *([engine.process_id] if sys.argv[3] == "imagej" else [])]
    peak = sum(int(open(f"/proc/{pid}/status").read().split("VmHWM:")[1].split()[0]) for pid in pids)
print(peak / 1024**2, took)
"""
# numba itself: its import, and what it loads when any kernel runs for the first time; then ours.
FIRST = """
import time, sys
import numpy as np
begin = time.perf_counter()
import numba
@numba.njit(cache=True)
def kernel(a):
    return a[0]
kernel(np.zeros(1))
itself = time.perf_counter() - begin
from bridge.imagej.native import NativeEngine
from bridge.rois.roiset import decode_roiset, encode_roiset, verify_roiset
labels = np.zeros((300, 300), np.uint16); labels[20:60, 20:60] = 1; labels[30:40, 30:40] = 0
begin = time.perf_counter()
found = decode_roiset(encode_roiset(labels), labels.shape)
verify_roiset(found, labels)
NativeEngine().measure(np.full((300, 300), 500, np.uint16), found, "a.tif")
print(itself, time.perf_counter() - begin)
"""


def memory(folder: Path) -> dict[str, Any]:
    labels = make_labels(10_000, CELLS[10_000])
    np.save(folder / "labels.npy", labels)
    np.save(folder / "image.npy", make_image(labels))
    found = {}
    for name in ("native", "imagej"):
        done = subprocess.run([sys.executable, "-c", PEAK, folder / "labels.npy", folder / "image.npy", name], capture_output=True, text=True, check=True)  # fmt: skip
        peak, took = map(float, done.stdout.split())
        found[name] = {"peak_gb": peak, "warm_s": took}
        console.print(
            f"10,000 x 10,000 px, 50,000 cells, labels to Results, {name}: {peak:.2f} GB at most, {took:.2f} s warm"
        )
    return found


def start_up(folder: Path) -> dict[str, dict[str, float]]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "kernels")}
    script = folder / "first.py"  # numba caches no kernel of a command line
    script.write_text(FIRST)
    found = {}
    for name in ("first, compiling", "second, from the disk"):
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=environment)
        itself, ours = map(float, done.stdout.split())
        found[name] = {"numba_s": itself, "kernels_s": ours}
        console.print(f"kernels in a new process, {name}: {ours:.2f} s, beyond numba itself ({itself:.2f} s)")
    return found


# ---------------------------------------------------------------- a whole run


@app.command
def run(
    model: str = "demo", pairs: int = 3, fields: int = 6, masks: bool = False, out: Path | None = None
) -> dict[str, Any]:
    """Compare `bridge.run` with segmentation alone (or, with --masks, with ImageJ alone): 6 fields of 2048 x 2048 px."""
    import tifffile

    import bridge
    from bridge.images.reader import read_plane
    from bridge.segmentation.segmenter import Segmenter
    from bridge.synthetic import synthetic_field

    with tempfile.TemporaryDirectory() as name:
        images = Path(name) / "images"
        for k in range(fields):
            field = synthetic_field(seed=k, size_px=2048, n_cells=1100)
            folder = images / ("DMSO" if k % 2 else "Drug")
            folder.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(folder / f"f{k}_phase.tif", field.phase)
            tifffile.imwrite(folder / f"f{k}_EdU.tif", field.edu)
            if masks:
                (Path(name) / "masks").mkdir(exist_ok=True)
                tifffile.imwrite(Path(name) / "masks" / f"{folder.name}_f{k}_mask.tif", field.cells)
        phases = sorted(images.rglob("*_phase.tif"))
        options: dict[str, Any] = {"count": "none", "diameter": 37.0, "model": model, "device": "cpu"}
        if masks:
            options["masks"] = Path(name) / "masks"
        ratios = []
        for k in range(pairs):
            alone_s = _imagej_alone(phases, Path(name)) if masks else 0.0
            if not masks:
                planes = [read_plane(path, measured=False).pixels for path in phases]
                segmenter = Segmenter(model, "cpu")
                segmenter.segment(planes[0][:300, :300], 37.0)
                begin = time.perf_counter()
                for pixels in planes:
                    segmenter.segment(pixels, 37.0)
                alone_s = time.perf_counter() - begin
            begin = time.perf_counter()
            report = bridge.run(images, Path(name) / f"results{k}", **options)
            whole_s = time.perf_counter() - begin
            assert report.exit_code == 0, report.failures
            ratios.append(whole_s / alone_s)
            console.print(f"run {whole_s:.1f} s, {'ImageJ' if masks else 'segmentation'} alone {alone_s:.1f} s: {ratios[-1]:.3f}")  # fmt: skip
    found = {"model": None if masks else model, "ratios": ratios, "median": st.median(ratios)}
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")
    return found


def _imagej_alone(phases: list[Path], folder: Path) -> float:
    """Seconds of ImageJ measuring the preloaded fields, its start included."""
    import tifffile

    jobs = []
    for path in phases:
        labels = tifffile.imread(folder / "masks" / f"{path.parent.name}_{path.name.replace('phase', 'mask')}")
        jobs.append((tifffile.imread(str(path).replace("phase", "EdU")), selections_of(labels)))
    begin = time.perf_counter()
    with FijiEngine() as engine:
        for pixels, cells in jobs:
            engine.measure(pixels, cells, "a.tif")
        return time.perf_counter() - begin


@app.default
def main(
    sizes: Annotated[list[int], Parameter(consume_multiple=True)] = [1024, 2048, 10_000],  # noqa: B006 read only
    repeats: int = 7,
    out: Path = Path("bench.json"),
) -> None:
    """Time the steps, the memory and the start-up; write all of it to a JSON file."""
    window = shutil.which("xvfb-run") is not None
    if not window:
        console.print("No xvfb-run here: the usual way through ImageJ's window is left out.")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Any] = {"start_up_s": start_up(folder)}
        for side in sizes:
            rows += steps_of(side, repeats, folder, window)
        if 10_000 in sizes:
            found["memory"] = memory(folder)
    table = Table("step", "side (px)", "ours (ms)", "theirs (ms)", "times faster", "against", "exact")
    for r in rows:
        theirs, ratio = (f"{r[key]:,.1f}" if key in r else "" for key in ("theirs_ms", "ratio"))
        table.add_row(r["step"], str(r["size"]), f"{r['ours_ms']:,.1f}", theirs, ratio, r["against"], r["exact"])
    console.print(table)
    found |= {
        "rows": rows,
        "machine": {
            "processor": _processor(), "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(),
            "imagej": IMAGEJ_VERSION, **{p: version(p) for p in ("numba", "numpy", "cellpose", "roifile", "rasterio")},
        },
    }  # fmt: skip
    out.write_text(json.dumps(found, indent=1) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    app()
