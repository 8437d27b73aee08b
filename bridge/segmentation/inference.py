"""What computes Cellpose's networks on a processor: OpenVINO, or torch one tile at a time; both give the same masks."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bridge.cache import cache_folder, is_writable
from bridge.cores import cores
from bridge.segmentation.backend import Inference, Precision
from bridge.segmentation.compiled import compiled_or_not
from bridge.segmentation.exact_first_layer import with_exact_first_layer
from bridge.segmentation.models import ModelFile

Compute = Callable[[Any], tuple[Any, Any]]
AT_ONCE = 64  # tiles handed over in one call; each is computed on its own
_log = logging.getLogger(__name__)
_TILE_PX, _TILE_PX_4 = 224, 256  # of Cellpose 3 and 4
_FORM = 2  # counted up when what is given for conversion changes


class TileByTile(nn.Module):  # type: ignore[misc]
    """Stands where Cellpose expects its network, and computes one tile after another.

    Cellpose's own batches of eight are slower on a processor than single tiles.

    Parameters
    ----------
    net : torch module
        Cellpose's network; not of MKL-DNN.
    compute : callable
        From an array (B, C, Y, X) to outputs (B, 3, Y, X) and styles (B, 256).
    words : str
        What computes.
    exactly : callable, optional
        Returns what computes exactly, where ``compute`` does not.
    """

    mkldnn = False
    dtype = torch.float32

    def __init__(self, net: Any, compute: Compute, words: str, exactly: Callable[[], Compute] | None = None) -> None:
        super().__init__()
        self.nout, self.device, self.words, self.exactly = net.nout, torch.device("cpu"), words, exactly
        self._compute = compute

    def forward(self, tiles: Any) -> tuple[Any, Any]:
        """Return outputs and styles of tiles, as Cellpose's network does."""
        outputs, styles = self._compute(tiles.numpy())
        return torch.from_numpy(outputs), torch.from_numpy(styles)

    def remembering(self) -> Remembering:
        """Return the same for one image, which remembers what it computed."""
        return Remembering(self)


class Remembering(TileByTile):
    """Computes the tiles of one image, and for a further look some of them exactly."""

    def __init__(self, of: TileByTile) -> None:
        super().__init__(of, of._compute, of.words, of.exactly)
        self._found: list[tuple[Any, Any]] = []
        self._exact: dict[int, tuple[Any, Any]] = {}
        self._anew: set[int] | None = None
        self._at = 0

    def anew(self, tiles: set[int]) -> None:
        """Say which tiles are exact at the next look; the others are as at the first one."""
        self._anew, self._at = tiles, 0

    def forward(self, tiles: Any) -> tuple[Any, Any]:
        """Return outputs and styles of the tiles that follow."""
        n, first = len(tiles), self._at
        self._at += n
        if self._anew is None:
            outputs, styles = self._compute(tiles.numpy())
            self._found += zip(outputs, styles, strict=True)
        else:
            assert self.exactly is not None
            own = [k for k in range(first, first + n) if k in self._anew]
            missing = [k for k in own if k not in self._exact]
            if missing:
                now = zip(*self.exactly()(tiles.numpy()[[k - first for k in missing]]), strict=True)
                self._exact |= dict(zip(missing, now, strict=True))
            both = [(self._exact if k in self._anew else self._found)[k] for k in range(first, first + n)]
            outputs, styles = (np.stack(kind) for kind in zip(*both, strict=True))
        return torch.from_numpy(outputs), torch.from_numpy(styles)


def on_processor(net: Any, model: ModelFile, inference: Inference, precision: Precision) -> TileByTile:
    """Return what computes a network of Cellpose on the processor.

    Parameters
    ----------
    net : torch module
        Loaded; one of Cellpose 3 not of MKL-DNN.
    model : ModelFile
        The converted network is kept by the hash of its weights.
    inference : {"auto", "torch", "openvino", "compile"}
    precision : {"exact", "fast"}
        ``fast``: bfloat16 where the processor has it, with masks that differ a little.
    """
    net.eval()
    if inference == "compile":
        return _with_torch(net, compile_as=model.name)
    if inference != "torch":
        try:
            return _with_openvino(net, model, precision)
        except Exception as error:
            # A library that is not there, or cannot convert this network, is no reason to fail: torch computes the same.
            level = logging.WARNING if inference == "openvino" else logging.INFO
            _log.log(level, "%s: OpenVINO cannot compute this network (%s); torch does", model.name, str(error)[:200])
    return _with_torch(net)


def _with_torch(net: Any, compile_as: str = "") -> TileByTile:
    original, words = net.to(memory_format=torch.channels_last), "torch"
    net = original
    if compile_as:
        channels, tile_px = (2, _TILE_PX) if hasattr(net, "make_style") else (3, _TILE_PX_4)
        tile = torch.zeros(1, channels, tile_px, tile_px).contiguous(memory_format=torch.channels_last)
        net, words = compiled_or_not(original, tile, compile_as)

    def compute(tiles: Any) -> tuple[Any, Any]:
        outputs, styles = [], []
        with torch.no_grad():
            for k in range(len(tiles)):
                tile = torch.from_numpy(tiles[k : k + 1]).contiguous(memory_format=torch.channels_last)
                output, style = net(tile)[:2]
                outputs.append(output.numpy())
                styles.append(style.numpy())
        return np.concatenate(outputs), np.concatenate(styles)

    return TileByTile(original, compute, words)


def _with_openvino(net: Any, model: ModelFile, precision: Precision) -> TileByTile:
    compute, kind = _compiled(net, model, precision, cores())
    # Of the tiles that are computed again there are one or two: all cores take each.
    exactly = cache(lambda: _compiled(net, model, "exact", 1)[0]) if kind != "f32" else None
    return TileByTile(net, compute, f"openvino {version('openvino')}, {kind}", exactly)


def _compiled(net: Any, model: ModelFile, precision: Precision, tiles_at_once: int) -> tuple[Compute, str]:
    ov = _openvino()

    core = ov.Core()
    kind = "bf16" if precision == "fast" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    first = None
    if kind == "bf16" and hasattr(net, "make_style"):  # a network of Cellpose 3
        net, first = with_exact_first_layer(net)
    network, alone = _network(core, net, model), threading.Lock()  # a queue has one callback at a time
    n_channels = network.input(0).partial_shape[1].get_length()
    tile_px = _TILE_PX if network.is_dynamic() else _TILE_PX_4

    @cache
    def queue_for(whole_tiles: bool) -> Any:
        """Compile the network, for whole tiles (of one known size it is 2 % faster) or for those of a small image."""
        sized = network.clone()
        if whole_tiles:
            sized.reshape([1, n_channels, tile_px, tile_px])
        compiled = core.compile_model(
            sized,
            "CPU",
            {
                # Where a processor has bfloat16, OpenVINO takes it unasked.
                "INFERENCE_PRECISION_HINT": kind,
                "INFERENCE_NUM_THREADS": cores(),
                "NUM_STREAMS": tiles_at_once,  # each on its share of the cores: with one core a tile none waits for another one
            },
        )
        if str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string()) != kind:
            raise RuntimeError(f"it does not compute in {kind}")
        return ov.AsyncInferQueue(compiled)

    queue_for(True)  # what cannot be compiled is known now

    def compute(tiles: Any) -> tuple[Any, Any]:
        n, given, height, width = tiles.shape
        # Cellpose 4 leaves channels out that are not there; empty ones say the same.
        if first is None and given < n_channels:
            tiles = np.pad(tiles, [(0, 0), (0, n_channels - given), (0, 0), (0, 0)])
        outputs = np.empty((n, net.nout, height, width), np.float32)
        styles = np.empty((n, 256), np.float32)

        def done(request: Any, k: int) -> None:
            outputs[k] = request.get_output_tensor(0).data[0]
            styles[k] = request.get_output_tensor(1).data[0]

        with alone:
            queue = queue_for(height == width == tile_px)
            queue.set_callback(done)
            for k in range(n):
                tile = tiles[k : k + 1]
                if first is None:
                    queue.start_async({0: tile}, k, share_inputs=True)
                else:
                    queue.start_async({0: first.parts(tile)}, k)
            queue.wait_all()
        return outputs, styles

    return compute, kind


def _openvino() -> Any:
    """Import OpenVINO without what tells its makers, unasked, that a network is converted."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # cannot be imported: OpenVINO goes on
    import openvino

    return openvino


class _Outputs(nn.Module):  # type: ignore[misc]
    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, tiles: Any) -> tuple[Any, Any]:
        output, style = self.net(tiles)[:2]
        return output, style


def _network(core: Any, net: Any, model: ModelFile) -> Any:
    """Return the network in OpenVINO's form: from the cache, else converted, and kept there."""
    ov = _openvino()

    form = f"{_FORM}-{getattr(net, 'nchan', 3)}"  # for an image in parts another one
    folder = cache_folder() / "openvino" / f"{model.sha256[:32]}-{version('openvino')}-{form}"
    with contextlib.suppress(RuntimeError):  # not there yet, or damaged
        return core.read_model(folder / "network.xml")
    converted = _converted(net)
    if is_writable(folder.parent):
        with tempfile.TemporaryDirectory(dir=folder.parent) as part, contextlib.suppress(OSError):
            ov.save_model(converted, Path(part) / "network.xml", compress_to_fp16=False)
            shutil.rmtree(folder, ignore_errors=True)
            (Path(part) / "network.xml").parent.rename(folder)
            Path(part).mkdir()
    return converted


def _converted(net: Any) -> Any:
    ov = _openvino()

    style = getattr(net, "make_style", None)  # Cellpose 3 has one, and takes tiles of any size
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's words about tracing are nothing a user can mend
        if style is None:
            tile = torch.rand(1, 3, _TILE_PX_4, _TILE_PX_4)
            traced = torch.jit.trace(_Outputs(net), tile, check_trace=False)
            # Of one size, since weights that are cut by the number of channels do not convert.
            return ov.convert_model(traced, example_input=tile, input=[tuple(tile.shape)])
        pool, tile = style.avg_pool, torch.rand(1, net.nchan, _TILE_PX, _TILE_PX)
        # A size that is taken from the tensor does not convert; the mean over the whole tile is the same.
        style.avg_pool = _mean_of_all
        try:
            traced = torch.jit.trace(_Outputs(net), tile, check_trace=False)
            converted = ov.convert_model(traced, example_input=tile)
        finally:
            style.avg_pool = pool
    converted.reshape([-1, net.nchan, -1, -1])
    return converted


def _mean_of_all(tile: Any, kernel_size: Any) -> Any:
    return nn.functional.adaptive_avg_pool2d(tile, 1 if kernel_size else None)
