"""Models: names and paths -> a checked file of weights."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import json
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from bridge.cache import cache_folder, writable_cache
from bridge.errors import MissingDependencyError, ModelError
from bridge.files import sha256, write_bytes, write_text
from bridge.foreign import read_json
from bridge.names import TRAINING_RECORD
from bridge.segmentation.cyto_0 import CYTO_0, MINIMUM_PAD_PX, checked_wheel, cyto_0, fetch_wheel
from bridge.segmentation.size_model import SizeModel, read_size_model

DEMO = "demo"
MASK_RCNN = "mask_rcnn"  # what a model file of that kind holds
_WITH_SIZE = ("cyto", "cyto2", "cyto3", "nuclei")  # Cellpose's own size models


@dataclass(frozen=True)
class ModelFile:
    """Weights on this machine, checked.

    Attributes
    ----------
    name : str
        As the user gave it.
    path : Path
    sha256 : str
        Of the file.
    built_in : bool
        One of Cellpose's own.
    pad_px : int
        Pixels by which an image is reflected at its border before this network sees it.
    classes : tuple of str
        Of a Mask R-CNN, which tells cells apart as well; none for Cellpose.
    """

    name: str
    path: Path
    sha256: str
    built_in: bool = False
    pad_px: int = 0
    classes: tuple[str, ...] = ()


def cellpose_version() -> tuple[int, ...]:
    """Return the version of the installed Cellpose.

    Raises
    ------
    MissingDependencyError
        None, or one this program was not made for.
    """
    try:
        text = importlib.metadata.version("cellpose")
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependencyError(
            "cellpose: not installed (expected 3.1.1.3, or 4.2.1 and later). Install this program again."
        ) from None
    version = tuple(int(part) for part in text.split(".") if part.isdecimal())
    if (version[:4] >= (3, 1, 1, 3) and version[0] == 3) or (version[0] == 4 and version >= (4, 2, 1)):
        return version
    raise MissingDependencyError(
        f"cellpose: a version this program does not know (got {text}, expected 3.1.1.3, or 4.2.1 and later). Install one of those."
    )


def default_model(nuclei: bool = False) -> str:
    """Return the name of the model that is used when none is named."""
    if cellpose_version()[0] == 4:
        return "cpsam_v2"
    return "nuclei" if nuclei else "cyto3"


def built_in_models() -> tuple[str, ...]:
    """Return the names Cellpose itself knows, in the installed version."""
    return tuple(dict.fromkeys(_names_in_source() or _imported_names()))


def _names_in_source() -> list[str]:
    """Return `MODEL_NAMES` as Cellpose's source has them, which takes no import of torch; empty where it is no list."""
    source = Path(str(distribution("cellpose").locate_file("cellpose/models.py")))
    try:
        lines = ast.parse(source.read_text("utf-8")).body
    except (OSError, SyntaxError, UnicodeDecodeError):
        return []
    for line in lines:
        if isinstance(line, ast.Assign) and any(getattr(t, "id", "") == "MODEL_NAMES" for t in line.targets):
            try:
                return [str(name) for name in ast.literal_eval(line.value)]
            except ValueError:
                return []
    return []


def _imported_names() -> list[str]:
    from cellpose import models

    return list(models.MODEL_NAMES)


def resolve_model(name: str | None = None, nuclei: bool = False) -> ModelFile:
    """Find the weights of a model, fetching them where they are not on this machine yet.

    Parameters
    ----------
    name : str, optional
        ``cyto_0``, ``demo``, a built-in name of Cellpose, the path of a model file, or the path of the
        ``cellpose-0.0.1`` wheel, which holds ``cyto_0``.
    nuclei : bool
        Which default to take when no name is given.

    Returns
    -------
    ModelFile

    Raises
    ------
    ModelError
        No such model, or one of the other Cellpose version.
    MissingDependencyError
        The weights cannot be fetched.

    Examples
    --------
    >>> resolve_model("demo").pad_px
    32
    """
    name = name or default_model(nuclei)
    if name == DEMO:
        path = Path(__file__).with_name("demo_model")
        require_version(DEMO, 3)
        return ModelFile(DEMO, path, sha256(path), pad_px=MINIMUM_PAD_PX)
    if name == CYTO_0 or (Path(name).name.startswith("cellpose-0.0.1-") and name.endswith(".whl")):
        require_version(CYTO_0, 3)
        path = cyto_0(None if name == CYTO_0 else Path(name))
        return ModelFile(CYTO_0, path, _hash_of_first_use(CYTO_0, path))
    if name in built_in_models():
        path = _built_in(name)
        return ModelFile(name, path, _hash_of_first_use(name, path), built_in=True)
    if Path(name).is_file():
        path = Path(name).resolve()
        classes = _classes_of_own(path)
        digest = sha256(path)
        _require_as_trained(path, digest)
        return ModelFile(name, path, digest, classes=classes)
    require_known(name)
    raise AssertionError(name)


def require_known(name: str) -> None:
    """Refuse the name of no model, without fetching anything.

    Raises
    ------
    ModelError
        Neither a file nor a name that is known.
    """
    if name in (DEMO, CYTO_0) or Path(name).is_file():
        return
    known = (*built_in_models(), CYTO_0, DEMO)
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else "Correct the name."
    raise ModelError(f"{name}: no such model (got {name}, expected a model file or one of {', '.join(known)}). {hint}")


def is_model_name(name: str) -> bool:
    """Return whether this is the name of a model; a file of the same name is meant by its path, ``./cyto3``."""
    return name in (DEMO, CYTO_0, *built_in_models())


def size_model_of(model: ModelFile) -> SizeModel:
    """Return the size model of a model: Cellpose's own of a built-in one, or the one that was trained with it.

    Raises
    ------
    ModelError
        It has none.
    MissingDependencyError
        It cannot be fetched.
    """
    if model.name == CYTO_0 or model.path == cache_folder() / "models" / CYTO_0:
        path = cache_folder() / "models" / f"size_{CYTO_0}.npy"
        if not path.is_file():
            with tempfile.TemporaryDirectory() as folder:
                wheel = checked_wheel(fetch_wheel(Path(folder)))
                with zipfile.ZipFile(wheel) as archive:
                    write_bytes(path, archive.read("cellpose/models/size_cyto_A.npy"))
        _hash_of_first_use(path.name, path)
        return read_size_model(path, square=True)
    if model.built_in and cellpose_version()[0] == 3 and model.name in _WITH_SIZE:
        path = _built_in(model.name, size=True)
        _hash_of_first_use(path.name, path)
        return read_size_model(path)
    path = model.path.with_name(f"{model.path.name}_size.npy")
    if path.is_file():
        return read_size_model(path)
    raise ModelError(
        f"{model.name}: has no size model (expected {path.name} beside it). Train it with --size, or use --diameter auto."
    )


def require_version(name: str, major: int) -> None:
    """Refuse a model that the installed Cellpose cannot run.

    Raises
    ------
    ModelError
        Another version is installed.
    """
    installed = cellpose_version()
    if installed[0] != major:
        raise ModelError(
            f"{name}: a model of Cellpose {major} (got Cellpose {'.'.join(map(str, installed))} installed). Run it with cellpose==3.1.1.3."
        )


def _classes_of_own(path: Path) -> tuple[str, ...]:
    """Check a model file; return the classes of a Mask R-CNN, none for Cellpose."""
    import torch

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        names = set(weights.keys())
    except Exception as error:  # a file of something else raises whatever it likes
        raise ModelError(
            f"{path}: not a Cellpose model ({type(error).__name__}; expected the file that training wrote). Check its path."
        ) from error
    if MASK_RCNN in names:
        return tuple(map(str, weights[MASK_RCNN]["classes"]))
    names = {str(name) for name in names}
    made_by = 4 if "W2" in names else 3 if any(key.startswith("downsample.") for key in names) else None
    if made_by is None and not any("encoder" in key for key in names):
        raise ModelError(f"{path}: not a Cellpose model (its weights are named otherwise). Check its path.")
    for key, weight in weights.items():
        if not (torch.is_tensor(weight) and bool(torch.isfinite(weight).all())):
            raise ModelError(f"{path}: a damaged model (got {key} that is not numbers throughout). Train it again.")
    installed = cellpose_version()[0]
    if made_by is not None and made_by != installed:
        other = "cellpose==3.1.1.3" if made_by == 3 else "'cellpose>=4.2.1,<4.3'"
        raise ModelError(
            f"{path}: a model of Cellpose {made_by} (got Cellpose {installed} installed). Run it with {other}."
        )
    return ()


def _require_as_trained(path: Path, digest: str) -> None:
    """Refuse a model that is no longer the one that the training beside it wrote."""
    record = path.with_name(TRAINING_RECORD)
    try:
        said = read_json(record)
        wrong = said["model"] == path.name and said["model_sha256"] != digest
    except (FileNotFoundError, ValueError, KeyError):
        return  # a model from elsewhere
    if wrong:
        raise ModelError(
            f"{path}: not the model that was trained here (its SHA-256 is not the one in {record.name}). It was damaged or exchanged: "
            "copy it again, or train it again."
        )


def _built_in(name: str, size: bool = False) -> Path:
    import pooch
    import requests
    from cellpose import models

    older = name in ("cyto", "cyto2", "nuclei") and cellpose_version()[0] == 3
    weights = f"{name}torch_0" if older else name
    path = Path(models.MODEL_DIR) / (f"size_{weights}.npy" if size else weights)
    if path.is_file():
        return path
    # Cellpose's own download switches certificate checks off for the whole process and does not notice a cut file.
    pooch.get_logger().setLevel("WARNING")
    source = pooch.create(path.parent, f"{models._MODEL_URL}/", registry={path.name: None}, retry_if_failed=2)
    downloader = pooch.HTTPDownloader(timeout=60, progressbar=sys.stderr.isatty())
    try:
        source.fetch(path.name, downloader=downloader)
    except (OSError, ValueError) as error:
        server = models._MODEL_URL.split("://")[-1].split("/")[0]
        lost = isinstance(error, requests.ConnectionError | requests.Timeout)
        reason = f"{server} cannot be reached" if lost else " ".join(str(error).split())[:200]
        instead = (
            "use --model cyto_0, whose weights come from the Python package index, or the path of a model file"
            if cellpose_version()[0] == 3
            else "give the path of a model file"
        )
        raise MissingDependencyError(
            f"{name}: its weights could not be downloaded ({reason}). Connect to a network once, {instead}."
        ) from error
    return path


def _hash_of_first_use(name: str, path: Path) -> str:
    """Nobody publishes hashes of these weights: the first one seen is kept, another one later is refused."""
    record = cache_folder() / "weights.json"
    known = _known_hashes(record)
    digest = sha256(path)
    key = f"{cellpose_version()[0]}/{name}"
    if key not in known:
        write_text(writable_cache() / record.name, json.dumps(known | {key: digest}, indent=1, sort_keys=True) + "\n")
    elif known[key] != digest:
        raise ModelError(
            f"{path}: not the weights that were used before (got SHA-256 {digest[:12]}..., expected {known[key][:12]}...). "
            f"Delete the file to fetch it again; if the new one is right, delete {record}."
        )
    return digest


def _known_hashes(record: Path) -> dict[str, str]:
    try:
        known = read_json(record)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{record}: cannot be read ({error}). Delete it.") from error
    if not all(isinstance(value, str) for value in known.values()):
        raise ModelError(f"{record}: not the hashes of models' weights. Delete it.")
    return known
