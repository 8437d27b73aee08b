"""NumPy files from elsewhere (``_seg.npy``, size models), read without ever running code that a file names."""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path
from typing import Any

from bridge.errors import InputError


class _Plain(pickle.Unpickler):
    """Arrays, and what Python itself has without a class; anything else in a file from elsewhere could run code.

    NumPy's own functions are not called with what the file says: with arguments of its choice they read and write
    memory that is not theirs. Arrays are made here, of exactly the bytes that are in the file.
    """

    def find_class(self, module: str, name: str) -> Any:
        cores = tuple(f"numpy.{core}.{part}" for core in ("core", "_core") for part in ("multiarray", "numeric"))
        known: dict[str, Any] = {}
        if module in cores:
            known = {"_reconstruct": _empty, "scalar": _scalar, "_frombuffer": _from_buffer}
        elif module == "numpy":
            known = {"ndarray": _ndarray, "dtype": _Type}
        if name not in known:
            raise pickle.UnpicklingError(f"got {module}.{name}, expected arrays, numbers, text, lists and dicts only")
        return known[name]


class _Type:
    """A plain dtype, as it is put together in a pickle."""

    def __init__(self, code: str, *_: object) -> None:
        import numpy as np

        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biufcSUO" or self.dtype.names is not None:
            raise pickle.UnpicklingError(f"got an array of {code}, expected numbers or text")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])

    def array(self, content: Any, shape: Any, order: Any) -> Any:
        import numpy as np

        shape = tuple(int(side) for side in shape)
        if self.dtype.hasobject:
            if not isinstance(content, list) or len(content) != math.prod(shape):
                raise pickle.UnpicklingError(f"got {len(content)} things for an array of shape {shape}")
            things = np.empty(len(content), object)
            for k, thing in enumerate(content):
                things[k] = thing
            return things.reshape(shape, order=order)
        if min(shape, default=0) < 0 or len(content) != math.prod(shape) * self.dtype.itemsize:
            raise pickle.UnpicklingError(f"got {len(content)} bytes for an array of shape {shape}")
        return np.frombuffer(bytes(content), self.dtype).reshape(shape, order=order).copy(order=order)


def _ndarray(*_: object) -> Any:
    # Named in every array's pickle, called in none that numpy.save writes.
    raise pickle.UnpicklingError("got a call of numpy.ndarray, expected arrays as numpy.save writes them")


def _empty(*_: object) -> Any:
    import numpy as np

    class _Array(np.ndarray[Any, Any]):
        def __setstate__(self, state: tuple[Any, ...]) -> None:
            _, shape, kind, fortran, content = state
            made = kind.array(content, shape, "F" if fortran else "C")
            flat = made.ravel("F" if fortran else "C")
            content = flat.tolist() if made.dtype.hasobject else flat.tobytes()
            super().__setstate__((1, made.shape, made.dtype, bool(fortran), content))  # type: ignore[arg-type]

    return np.ndarray.__new__(_Array, (0,), "b")


def _scalar(kind: _Type, content: Any) -> Any:
    if kind.dtype.hasobject:
        raise pickle.UnpicklingError("got an object as a number")
    return kind.array(content, (), "C")[()]


def _from_buffer(content: Any, kind: _Type, shape: Any, order: Any) -> Any:
    if kind.dtype.hasobject:
        raise pickle.UnpicklingError("got bytes as objects")
    return kind.array(content, shape, "F" if order == "F" else "C")


def read_npy(path: Path) -> Any:
    """Read an array, or a dict that `numpy.save` wrote, without ever running code that the file names.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray or dict

    Raises
    ------
    InputError
        No such file, damaged, or something else than arrays, numbers, text, lists and dicts in it.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            npy: Any = np.lib.format
            version = npy.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"format {version}")
            header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            shape, _, dtype = header[version](file)
            if not dtype.hasobject:
                held = os.fstat(file.fileno()).st_size - file.tell()
                if math.prod(shape) * dtype.itemsize > held:
                    raise ValueError(f"got {held} bytes for an array of shape {shape}")
                file.seek(0)
                return npy.read_array(file, allow_pickle=False)
            found = np.asarray(_Plain(file).load())
            return found.item() if shape == () else found
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except Exception as error:  # a damaged pickle raises whatever it likes
        raise InputError(f"{path}: damaged, or not what Cellpose saves ({error}). Save it again.") from error
