"""The weights of ``cyto_0``: inside the wheel of cellpose 0.0.1, fetched by pip, converted from MXNet once."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

from bridge.cache import cache_folder, writable_cache
from bridge.errors import ModelError
from bridge.files import sha256, write_bytes
from bridge.wheels import fetched_wheel

CYTO_0 = "cyto_0"
_CYTO_0_WHEEL = "cellpose==0.0.1"
_CYTO_0_WHEEL_SHA256 = "b841f55f92749dc5a09d21f2a3042dee987620da1ac64a1d7c0fee253afd53df"
CYTO_0_DIAMETER_PX = 27.0
MINIMUM_PAD_PX = 32


def cyto_0(wheel: Path | None) -> Path:
    """Return the converted weights of cyto_0, made on first use."""
    path = cache_folder() / "models" / CYTO_0
    if path.is_file():
        return path
    writable_cache("models")
    with tempfile.TemporaryDirectory() as folder:
        source = checked_wheel(wheel if wheel is not None else fetch_wheel(Path(folder)))
        with zipfile.ZipFile(source) as archive:
            parameters = archive.read("cellpose/models/cyto_0")
            size = archive.read("cellpose/models/size_cyto_A.npy")
    write_bytes(path.with_name(f"size_{CYTO_0}.npy"), size)
    _convert_mxnet(parameters, path)
    return path


def checked_wheel(path: Path) -> Path:
    """Return the wheel of cellpose 0.0.1 if it is that one."""
    if not path.is_file() or sha256(path) != _CYTO_0_WHEEL_SHA256:
        raise ModelError(f"{path}: not the cellpose 0.0.1 wheel (its SHA-256 differs). Download it again.")
    return path


def fetch_wheel(folder: Path) -> Path:
    """Let pip download the wheel of cellpose 0.0.1, with a required hash."""
    otherwise = "give the path of the cellpose-0.0.1 wheel as --model"
    return fetched_wheel(_CYTO_0_WHEEL, _CYTO_0_WHEEL_SHA256, folder, "cyto_0: its weights", otherwise)


def _convert_mxnet(parameters: bytes, path: Path) -> None:
    """Write the parameters of the original Cellpose network as a PyTorch file of the same network."""
    import torch
    from cellpose.resnet_torch import CPnet

    arrays = _read_mxnet(parameters)
    net = CPnet([2, 32, 64, 128, 256], 3, sz=3, diam_mean=CYTO_0_DIAMETER_PX)
    state = net.state_dict()
    for name, value in arrays.items():
        state[_pytorch_name(name)].copy_(torch.from_numpy(value))
    content = io.BytesIO()  # to a file torch would write its name, too: another hash of the same weights each time
    torch.save(state, content)
    write_bytes(path, content.getvalue())


def _pytorch_name(name: str) -> str:
    parts = name.split(".")
    named: list[str] = []
    for before, part in zip(["", *parts], parts, strict=False):
        prefix = {"down": "res_down_", "up": "res_up_"}.get(before, "")
        # conv.2.0.gamma: the third block; conv.0.gamma inside a block is its batch normalisation.
        if (
            before == "conv"
            and part.isdecimal()
            and named.count("conv") == 1
            and not any(p.startswith("conv_") for p in named)
        ):
            prefix = "conv_"
        named.append(prefix + part)
    return ".".join(named).replace("gamma", "weight").replace("beta", "bias")


def _read_mxnet(content: bytes) -> dict[str, object]:
    """Read MXNet's list format (NDArray version 2, dense float32): arrays first, their names behind."""
    import struct

    import numpy as np

    at = 0

    def take(layout: str) -> tuple[int, ...]:
        nonlocal at
        values = struct.unpack_from("<" + layout, content, at)
        at += struct.calcsize("<" + layout)
        return values

    magic, _, count = take("QQQ")
    if magic != 0x112:
        raise ModelError("cyto_0: not an MXNet parameter file. Fetch the wheel again.")
    arrays = []
    for _ in range(count):
        version, storage, dimensions = take("IiI")
        shape = take(f"{dimensions}q")
        _, _, kind = take("iii")
        if version != 0xF993FAC9 or storage != 0 or kind != 0:
            raise ModelError("cyto_0: an MXNet array of another kind (expected dense float32). Fetch the wheel again.")
        size = int(np.prod(shape))
        arrays.append(np.frombuffer(content, "<f4", size, at).reshape(shape).copy())
        at += 4 * size
    names = []
    for _ in range(take("Q")[0]):
        (length,) = take("Q")
        names.append(content[at : at + length].decode())
        at += length
    return dict(zip(names, arrays, strict=True))
