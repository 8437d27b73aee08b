"""Tables of very many rows: many CSV files read as one, and Parquet, a part for each condition."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bridge.errors import TableError
from bridge.files import whole_file
from bridge.tables import Column, any_text, csv_text, empty_table

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    import pyarrow as pa

_AT_ONCE = 64 << 20  # bytes of CSV that are read in one go
_CONDITION = "condition"


def read_tables(paths: Iterable[Path], columns: Sequence[Column], names: Collection[str] | None = None) -> pd.DataFrame:
    """Read many tables that `bridge.tables.write_table` wrote as one; every float comes back to the last bit.

    Parameters
    ----------
    paths : iterable of Path
        All with the same columns.
    columns : sequence of Column
    names : collection of str, optional
        The columns that are wanted; all of them unless given.

    Returns
    -------
    DataFrame
        In the order of the files.

    Raises
    ------
    TableError
        No such file, or it has other columns.

    Examples
    --------
    >>> import tempfile
    >>> from bridge.tables import typed_table, write_table
    >>> columns, folder = (Column("a", "str", "", ""), Column("x", "float64", "", "")), Path(tempfile.mkdtemp())
    >>> for k in (1, 2):
    ...     write_table(folder / f"{k}.csv", typed_table([{"a": "é", "x": k / 3}], columns), columns)
    >>> read_tables([folder / "1.csv", folder / "2.csv"], columns)["x"].tolist()
    [0.3333333333333333, 0.6666666666666666]
    """
    import pandas as pd

    wanted = [column for column in columns if names is None or column.name in names]
    parts = [_parsed(*piece, wanted) for piece in _pieces(paths, columns)]
    return pd.concat(parts, ignore_index=True) if parts else empty_table(wanted)


def _pieces(paths: Iterable[Path], columns: Sequence[Column]) -> Iterator[tuple[bytes, Path]]:
    """Yield the lines of many files behind one heading, some at once, with the last file that is in them."""
    heading, expected = b"", {column.name for column in columns}
    rows, last = bytearray(), Path()
    for path in paths:
        try:
            first, _, content = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise TableError(f"{path}: no such table. Run `cellpose-fiji run` first.") from None
        if first != heading:
            got = _names(first)
            if missing := sorted(expected - set(got)):
                raise TableError(f"{path}: a column is missing (got {', '.join(got)}, expected {missing[0]}). Delete it and run again.")  # fmt: skip
            if rows:
                yield heading + b"\n" + bytes(rows), last
                rows.clear()
            heading = first
        rows += content
        last = path
        if len(rows) > _AT_ONCE:
            yield heading + b"\n" + bytes(rows), last
            rows.clear()
    if rows:
        yield heading + b"\n" + bytes(rows), last


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a table.

    Raises
    ------
    TableError
        No such file.
    """
    try:
        with path.open("rb") as file:
            return _names(file.readline())
    except FileNotFoundError:
        raise TableError(f"{path}: no such table. Run `cellpose-fiji run` first.") from None


def _names(heading: bytes) -> list[str]:
    return next(csv.reader([heading.decode(errors="replace")]), [])


def _parsed(text: bytes, last: Path, columns: Sequence[Column]) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    convert = arrow_csv.ConvertOptions(
        column_types={column.name: _stored(column) for column in columns}, include_columns=[c.name for c in columns],
        null_values=[""], strings_can_be_null=False, true_values=["TRUE", "True"], false_values=["FALSE", "False"],
    )  # fmt: skip
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=b'"' in text),
            convert_options=convert,
        )
    except pa.ArrowInvalid as error:
        raise TableError(f"{last}: not the table this program wrote ({error}). Delete it and run again.") from error
    return _as_declared(table, columns)


def _stored(column: Column) -> pa.DataType:
    import pyarrow as pa

    return {
        "str": pa.dictionary(pa.int32(), pa.string()), "float64": pa.float64(), "int64": pa.int64(), "Int64": pa.int64(),
        "bool": pa.bool_(), "boolean": pa.bool_(),
    }[column.dtype]  # fmt: skip


def _as_declared(table: pa.Table, columns: Sequence[Column]) -> pd.DataFrame:
    """Return a table with the types that are declared; equal texts share their memory."""
    import pandas as pd
    import pyarrow as pa

    any_text()
    types: dict[Any, Any] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    return frame.astype({column.name: column.dtype for column in columns})


class Parts:
    """A table of Parquet files, a part for each condition: `cells.parquet/condition=DMSO/part-0.parquet`.

    pyarrow, DuckDB, Spark and R's arrow take the folder for one table, with the condition as a column.

    Parameters
    ----------
    folder : Path
    conditions : sequence of str
        In their order, which is that of the rows.
    """

    def __init__(self, folder: Path, conditions: Sequence[str]) -> None:
        self.folder, self.conditions = folder, tuple(conditions)

    def part(self, condition: str) -> Path:
        """Return the file of a condition.

        Examples
        --------
        >>> Parts(Path("cells.parquet"), ["5 nM"]).part("5 nM").as_posix()
        'cells.parquet/condition=5%20nM/part-0.parquet'
        """
        name = quote(condition, safe="", errors="backslashreplace")
        return self.folder / f"{_CONDITION}={name}" / "part-0.parquet"

    def write(self, condition: str, rows: pd.DataFrame, columns: Sequence[Column]) -> None:
        """Write the rows of a condition, whole or not at all, with the units and meanings of the columns."""
        write_parquet(self.part(condition), rows, [column for column in columns if column.name != _CONDITION])

    def names(self) -> list[str]:
        """Return the names of the columns.

        Raises
        ------
        TableError
            The first part is missing, or is no such table.
        """
        from pyarrow import parquet

        path = self.part(self.conditions[0])
        with _said_of(path):
            return [_CONDITION, *parquet.read_schema(path).names]

    def read(self, columns: Sequence[Column], fields: Collection[str] | None = None) -> pd.DataFrame:
        """Read the declared columns of all conditions, of these fields alone where they are given.

        Raises
        ------
        TableError
            A part is missing, or is no such table.
        """
        import pandas as pd
        import pyarrow as pa
        from pyarrow import compute, parquet

        own = [column for column in columns if column.name != _CONDITION]
        only = None if fields is None else compute.field("field_id").isin(pa.array(_as_utf8(fields), pa.string()))
        parts = []
        for condition in self.conditions:
            path = self.part(condition)
            with _said_of(path):
                table = parquet.read_table(path, columns=[c.name for c in own], filters=only, partitioning=None)
                frame = _as_declared(table, own)
            if len(frame):
                parts.append(frame.assign(**{_CONDITION: condition}))
        if not parts:
            return empty_table(columns)
        frame = pd.concat(parts, ignore_index=True)
        declared = {column.name: column.dtype for column in columns}
        return frame[list(declared)].astype(declared)

    def keep_only(self, conditions: Collection[str]) -> None:
        """Remove the parts of other conditions: who reads the folder reads all that lies there."""
        kept = {self.part(condition) for condition in conditions}
        for path in self.folder.glob(f"{_CONDITION}=*/part-0.parquet"):
            if path not in kept:
                path.unlink()
                with suppress(OSError):  # not empty: somebody's own file
                    path.parent.rmdir()
        with suppress(OSError):
            self.folder.rmdir()


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Say of a part that cannot be read what is wrong with it."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise TableError(f"{path}: no such table. Run `cellpose-fiji run` first.") from None
    except (pa.ArrowException, KeyError) as error:
        raise TableError(f"{path}: not the table this program wrote ({error}). Delete it and run again.") from error


def write_parquet(path: Path, rows: pd.DataFrame, columns: Sequence[Column]) -> None:
    """Write the declared columns of a table as Parquet, whole or not at all, each with its unit and meaning."""
    import pyarrow as pa
    from pyarrow import parquet

    fields = [pa.field(c.name, _stored(c), metadata={"unit": c.unit, "meaning": c.meaning}) for c in columns]
    arrays = [_array(rows[field.name], field.type) for field in fields]
    with whole_file(path) as part:
        parquet.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), part, compression="zstd")


def _array(values: pd.Series[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if not pa.types.is_dictionary(kind):
        return pa.Array.from_pandas(values, type=kind)
    texts = values.astype("category").cat
    names = _as_utf8(texts.categories)
    return pa.DictionaryArray.from_arrays(texts.codes.to_numpy("int32"), pa.array(names, pa.string()), mask=texts.codes.to_numpy() < 0)  # fmt: skip


def _as_utf8(names: Iterable[object]) -> list[str]:
    """Return names with what is no UTF-8 as in the CSV files."""
    return [str(name).encode(errors="backslashreplace").decode() for name in names]


@contextmanager
def growing_csv(path: Path, columns: Sequence[Column]) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Write a table as CSV piece by piece, whole or not at all, as `bridge.tables.write_table` writes it at once.

    Yields
    ------
    callable
        Takes the next rows.
    """
    with whole_file(path) as part, part.open("wb") as file:
        file.write(csv_text(path, empty_table(columns), columns).encode(errors="backslashreplace"))

        def add(rows: pd.DataFrame) -> None:
            file.write(csv_text(path, rows, columns, heading=False).encode(errors="backslashreplace"))

        yield add
