"""What a bundle says, checked on a stranger's machine: its files, its tables, and with the images every number."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from bridge.errors import BridgeError, InputError
from bridge.files import sha256
from bridge.foreign import read_json
from bridge.names import number
from bridge.pipeline.bundle import PARQUET, belongs, texts
from bridge.pipeline.bundle_zip import MANIFEST, METADATA, digest_of, read_manifest, unpack
from bridge.pipeline.finished_run import FinishedRun, open_run
from bridge.pipeline.graph import EXPERIMENT
from bridge.pipeline.progress import Progress
from bridge.pipeline.run_record import RECORDS
from bridge.pipeline.seen import SEEN

Kind = Literal["file", "table", "image", "segmentation", "arithmetic"]
_AGAIN = "Get the bundle again."
_NOT_TABLES = ("fields.csv", "failures.csv", "inputs.csv", "robustness.csv")  # the last needs the images
_ODD = (
    KeyError,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
)  # what odd content of a stranger raises
_OF_TABLES = ("numpy", "pandas", "pyarrow", "scipy", "statsmodels", "xlsxwriter")


@dataclass(frozen=True)
class Difference:
    """One thing that is not as the bundle says.

    Attributes
    ----------
    kind : {"file", "table", "image", "segmentation", "arithmetic"}
    name : str
        The file or the field.
    message : str
    """

    kind: Kind
    name: str
    message: str


@dataclass(frozen=True)
class Verification:
    """What came of a check.

    Attributes
    ----------
    bundle : Path
    sha256 : str
        Of the zip: compare it with the published one.
    files, tables : int
        Files whose hash was checked; tables that were derived again.
    fields, cells : int
        Fields that were computed again from their images, and their cells; 0 without images.
    segmented : int
        Fields in which the cells were looked for again.
    cells_differ : int
        Cells whose numbers differ.
    differences : tuple of Difference
    notes : tuple of str
        What could not be checked, and what was done otherwise than in the run.
    """

    bundle: Path
    sha256: str
    files: int
    tables: int
    fields: int = 0
    cells: int = 0
    segmented: int = 0
    cells_differ: int = 0
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 nothing differs, 1 something does."""
        return 1 if self.differences else 0

    def differ(self, kind: Kind) -> int:
        """Return how many differences are of a kind."""
        return sum(difference.kind == kind for difference in self.differences)


def verify(
    bundle: Path | str,
    images: Path | str | None = None,
    progress: Callable[[Progress], None] | None = None,
    weights: Sequence[Path | str] = (),
) -> Verification:
    """Check a bundle that `bridge.bundle` wrote, on any machine.

    Parameters
    ----------
    bundle : Path or str
        The zip. Nothing in it is trusted.
    images : Path or str, optional
        Folder of the images it was made from, wherever it is now: every field is then computed again.
    progress : callable, optional
        Called after each field and step.
    weights : sequence of Path or str
        Weights of the run's networks, where the bundle was made without them (`images` is given, too).

    Returns
    -------
    Verification

    Raises
    ------
    InputError
        Not a bundle, a damaged one, or one that reaches out of itself; no such folder of images; other weights.
    MissingDependencyError
        The disk is full, or this machine cannot do the arithmetic.

    Examples
    --------
    >>> import bridge
    >>> bridge.verify("no such file.zip")
    Traceback (most recent call last):
    bridge.errors.InputError: no such file.zip: no such file (expected a bundle). Check the path.
    >>> bridge.verify("results.zip", images="images").differences             # doctest: +SKIP
    ()
    """
    bundle, images = Path(bundle), None if images is None else Path(images)
    if images is not None and not images.exists():
        raise InputError(f"{images}: no such folder (expected the images of the run). Check the path given with --images.")  # fmt: skip
    if weights and images is None:
        raise InputError(f"{weights[0]}: nothing is computed again without the images (got weights alone, expected --images, too). Name their folder.")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cellpose-fiji-") as name:
        scratch = Path(name)
        folder = scratch / "bundle"
        folder.mkdir()
        try:
            return _verify(bundle, folder, images, progress, [Path(path) for path in weights])
        except BridgeError as error:
            if f"{scratch}" not in str(error):
                raise
            # A path that is gone in a moment helps nobody.
            text = str(error).replace(f"{folder}/", "").replace(f"{folder}", "the bundle")
            raise type(error)(text if text.startswith(f"{bundle}: ") else f"{bundle}: {text}") from error
        except _ODD as error:
            raise InputError(f"{bundle}: holds what this program does not write ({type(error).__name__}: {error}). It was changed: do not use it. {_AGAIN}") from error  # fmt: skip


def _verify(
    bundle: Path,
    folder: Path,
    images: Path | None,
    progress: Callable[[Progress], None] | None,
    weights: Sequence[Path],
) -> Verification:
    found = unpack(bundle, folder)
    listed = read_manifest(folder, bundle)
    shutil.rmtree(folder / "records" / SEEN, ignore_errors=True)  # a stranger's word for what files hold
    differences = list(_files(found, listed))
    whole, n_tables, notes = not differences, 0, []
    run, content = _opened(folder, bundle)
    differences += [d for d in _records(run, found) if d.name not in {known.name for known in differences}]
    changed = {d.name for d in differences}
    tables = {name for name in found if is_table(name)}
    if changed <= tables | {METADATA, "methods.txt", "legend.txt", "CITATION.cff", "README.txt", "settings.toml"}:
        derived, n_tables = _tables(run, content, tables, bundle)
        differences += derived
    else:
        notes.append("the tables were not derived again, since what they follow from was changed")
    result = Verification(bundle, sha256(bundle), len(listed), n_tables)
    if images is None:
        return _with(result, differences, notes)
    if not whole:
        return _with(result, differences, [*notes, "nothing was computed again from the images, since the bundle was changed"])  # fmt: skip
    from bridge.pipeline.verify_images import compute_again

    again = compute_again(run, content, found, images, progress, weights)
    result = Verification(
        bundle, result.sha256, result.files, n_tables, again.fields, again.cells, again.segmented, again.cells_differ
    )
    return _with(result, [*differences, *again.differences], [*notes, *again.notes])


def _with(result: Verification, differences: list[Difference], notes: list[str]) -> Verification:
    return Verification(**{**vars(result), "differences": tuple(differences), "notes": tuple(notes)})


def _short(digest: str) -> str:
    return f"SHA-256 {digest[:12]}..."


def _files(found: Mapping[str, str], listed: Mapping[str, str]) -> Iterator[Difference]:
    """Compare every file with the bundle's own list."""
    for name in sorted({*found, *listed} - {MANIFEST}):
        if name not in listed:
            text = f"{name}: is in the bundle and not in its list of files (got a file, expected none). Do not use it. {_AGAIN}"
        elif name not in found:
            text = f"{name}: is not in the bundle (got nothing, expected {_short(listed[name])}). {_AGAIN}"
        elif found[name] != listed[name]:
            text = f"{name}: was changed after the bundle was made (got {_short(found[name])}, expected {_short(listed[name])}). Do not use it. {_AGAIN}"
        else:
            continue
        yield Difference("file", name, text)


def _opened(folder: Path, bundle: Path) -> tuple[FinishedRun, dict[str, Any]]:
    try:
        run = open_run(folder)
        content = read_json(folder / "run.json")
        for key in ("program", "versions", "settings", "channels", "fields", "models"):
            if not isinstance(content.get(key), dict):
                raise ValueError(f"{key} is not in it")
    except (BridgeError, ValueError) as error:
        text = str(error).replace(f"{folder}/", "").replace(f"{folder}", "the bundle")
        raise InputError(f"{bundle}: the run in it cannot be read ({text.rstrip('.')}). {_AGAIN}") from error
    if content.get("records") != RECORDS:
        raise InputError(
            f"{bundle}: its records are of another version of this program (got {content.get('records')}, expected {RECORDS}). Verify it with cellpose-fiji-bridge {content['program'].get('version')}."
        )
    return run, content


def _records(run: FinishedRun, found: Mapping[str, str]) -> Iterator[Difference]:
    """Compare what the steps wrote with what they noted of it."""
    for field_id in (*(item.field_id for item in run.fields), EXPERIMENT):
        for record in sorted(run.records.folder(field_id).glob("*.json")):
            for name, digest in run.records.outputs(field_id, record.stem).items():
                if not belongs(name) or found.get(name) == digest:
                    continue
                got = _short(found[name]) if name in found else "nothing"
                yield Difference(
                    "file", name, f"{name}: is not what the run wrote (got {got}, expected {_short(digest)}, as its record says). Do not use it. {_AGAIN}",
                )  # fmt: skip


def is_table(name: str) -> bool:
    """Return whether a file of a bundle is a table over all fields.

    Examples
    --------
    >>> is_table("cells.csv"), is_table("conditions/A.xlsx"), is_table("fields.csv"), is_table("records/f1/cells.csv")
    (True, True, False, False)
    >>> is_table("cells.parquet/condition=A/part-0.parquet")
    True
    """
    return name.startswith(("conditions/", *(f"{folder}/" for folder in PARQUET))) or (
        "/" not in name and name.endswith(".csv") and name not in _NOT_TABLES
    )


def _tables(
    run: FinishedRun, content: Mapping[str, Any], names: set[str], bundle: Path
) -> tuple[list[Difference], int]:
    """Make the tables again from the fields' own files, and compare byte by byte."""
    kept = run.out.parent / "kept"
    for name in names:
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (run.out / name).rename(kept / name)
    (run.records.folder(EXPERIMENT) / "tables.json").unlink(missing_ok=True)
    try:
        paths = run.make("tables")
        written = dict(zip(("methods.txt", "legend.txt"), texts(run, content), strict=True))
    except Exception as error:  # what a stranger wrote raises whatever it likes
        text = str(error).replace(f"{run.out}/", "") if isinstance(error, BridgeError) else f"{type(error).__name__}: {error}"  # fmt: skip
        raise InputError(f"{bundle}: its tables cannot be made again from its fields ({text.rstrip('.')}). It was changed: do not use it. {_AGAIN}") from error  # fmt: skip
    made = {path.relative_to(run.out).as_posix(): path for path in paths}
    differences = []
    for name in sorted({*made, *names}):
        if name not in made:
            text = f"{name}: follows from no field (got a table, expected none). Do not use it. {_AGAIN}"
        elif name not in names:
            text = f"{name}: is not in the bundle (got nothing, expected a table that follows from the fields). {_AGAIN}"  # fmt: skip
        elif (kept / name).read_bytes() == made[name].read_bytes():
            continue
        else:
            text = f"{name}: does not follow from the fields ({_first_change(kept / name, made[name])}){_other_versions(content)}. Do not use it: the numbers of each field are in records."
        differences.append(Difference("table", name, text))
    for name, text in written.items():
        path = run.out / name
        if path.is_file() and path.read_bytes() != text.encode():
            text = f"{name}: does not follow from the tables (got {_short(sha256(path))}, expected {_short(digest_of(text.encode()))}){_other_versions(content)}. Do not use it: make it again with summarize."
            differences.append(Difference("table", name, text))
    return differences, len(made)


def _first_change(got: Path, expected: Path) -> str:
    """Say where two tables differ first."""
    if got.suffix != ".csv":
        return f"got {_short(sha256(got))}, expected {_short(sha256(expected))}"
    try:
        before, after = _rows(got), _rows(expected)
    except csv.Error:
        before = after = []
    if len(before) != len(after):
        return f"got {number(len(before), 'line')}, expected {len(after)}"
    changed = [(k, a, b) for k, (a, b) in enumerate(zip(before, after, strict=True), 1) if a != b]
    if not changed:
        return f"got {_short(sha256(got))}, expected {_short(sha256(expected))}"
    k, a, b = changed[0]
    if len(a) != len(b):
        return f"got {number(len(a), 'cell')} in line {k}, expected {len(b)}"
    j = next(j for j, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
    column = after[0][j] if j < len(after[0]) else f"column {j + 1}"
    return f"got {column} {a[j]!r} in line {k}, expected {b[j]!r}; {number(len(changed), 'line')} of {len(after)}"


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.reader(file))


def _other_versions(content: Mapping[str, Any]) -> str:
    """Say which versions make tables here that are not those of the run; empty where there are none."""
    noted = {"cellpose-fiji-bridge": content["program"].get("version"), **content["versions"]}
    said = []
    for name in ("cellpose-fiji-bridge", *_OF_TABLES):
        try:
            here = version(name)
        except PackageNotFoundError:
            continue
        if name in noted and noted[name] != here:
            said.append(f"{name} {noted[name]} there and {here} here")
    return f", with {', '.join(said)}" if said else ""
