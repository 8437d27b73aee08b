"""Tables: every column declared once, with its type, unit and meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import TableError
from bridge.files import write_text
from bridge.measurements import GREY, columns_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name, dtype, unit, meaning : str
        `dtype` is pandas' name; `unit` is empty where there is none.
    """

    name: str
    dtype: str
    unit: str
    meaning: str


KEYS = (
    Column("field_id", "str", "", "field of view; every file of the field is named by it"),
    Column("condition", "str", "", "treatment"),
    Column("replicate", "str", "", "independent repeat of the experiment; empty where not known"),
    Column("sample", "str", "", "well or dish; empty where not known"),
)
FIELDS = (
    *KEYS,
    Column("segment_path", "str", "", "image in which the cells were found"),
    Column("count_path", "str", "", "image in which nuclei were counted"),
    Column("mask_path", "str", "", "label image that was there already"),
    Column("height_px", "Int64", "px", "height of the field"),
    Column("width_px", "Int64", "px", "width of the field"),
    Column("dtype", "str", "", "type of the measured image's pixels"),
    Column("pixel_size_um", "float64", "um", "size of a pixel; empty where not calibrated"),
    Column("problems", "str", "", "why the field cannot be processed"),
    Column("cell_type", "str", "", "what all cells of the field are; empty where nobody said so"),
    Column("series_id", "str", "", "series of frames the field belongs to; empty for a still image"),
    Column("frame", "Int64", "", "its number in the series, as it is named; empty for a still image"),
)
# Why a network's objects become no cells.
DROPPED = {
    "flow": "their flows do not fit (--flow-threshold)",
    "inside": "they lay in a hole of another cell",
    "small": "they have too few pixels (--min-size)",
    "border": "they touch the border (--border drop)",
    "large": "they are too large (--max-size)",
    "shape": "they are not round enough (--min-circularity)",
    "dim": "they are too dim (--min-mean)",
    "outside": "their centroid lies outside of the drawn region (--regions)",
}
COUNTS = (
    *KEYS,
    Column("n_cells", "Int64", "", "cells found in the segment channel"),
    Column("n_nuclei", "Int64", "", "nuclei found in the count channel; empty without one"),
    Column("n_orphan_nuclei", "Int64", "", "nuclei that lie in no cell"),
    Column("n_cells_without_nucleus", "Int64", "", "cells in which no nucleus lies"),
    Column("n_cells_with_several", "Int64", "", "cells in which two or more nuclei lie"),
    *(
        Column(
            f"n_dropped_{why}", "Int64", "", f"objects dropped because {because}; empty where nothing was looked for"
        )
        for why, because in DROPPED.items()
    ),
    Column("flagged", "str", "", "acquisition checks that mark the field; see checks.csv"),
    Column("diameter_px", "float64", "px", "diameter that the network was given; empty where it takes none"),
)
FAILURES = (
    Column("field_id", "str", "", "field that failed"),
    Column("step", "str", "", "step at which it failed"),
    Column("error", "str", "", "kind of error"),
    Column("message", "str", "", "what is wrong and what to do"),
)
OVERLAPS = (
    Column("roi", "str", "", "ROI that loses pixels to an earlier one of its set"),
    Column("to", "str", "", "the ROI that has them"),
    Column("area_px", "int64", "px", "pixels of the ROI"),
    Column("lost_px", "int64", "px", "how many of them it loses to the other"),
)
CORRECTIONS = (
    Column("field_id", "str", "", "corrected field"),
    Column("change", "str", "", "edited, added, deleted, merged, split, redrawn, covered or outside"),
    Column("labels_before", "str", "", "labels it was made from, with spaces between them"),
    Column("label", "int64", "", "its label in the corrected label image; 0 for none"),
    Column("roi", "str", "", "name of its ROI; empty for a deleted cell"),
    Column("before_px", "int64", "px", "pixels before, of the cell whose label it keeps; 0 without one"),
    Column("after_px", "int64", "px", "pixels of the cell now; 0 for none"),
    Column("iou", "float64", "", "intersection over union with the cell whose label it keeps; 0 without one"),
    Column("overlap_px", "int64", "px", "pixels that stay with an unchanged cell or an earlier ROI"),
    Column("clipped", "bool", "", "its ROI reaches beyond the image; only what lies inside counts"),
)
CELL, NUCLEUS, RING = "cell", "nucleus", "ring"
ROWS = {CELL: "cells", NUCLEUS: "nuclei"}  # the names of their tables
# Of the nuclei of one cell together; each follows from the nuclei's own numbers.
UNION = ("Mean", "IntDen", "RawIntDen")


def measure_column(channel: str, measure: str, compartment: str = CELL) -> str:
    """Return the name of a measured column, e.g. ``cell_EdU_Mean`` or ``nucleus_EdU_Mean``."""
    return f"{compartment}_{channel}_{measure}"


def cell_columns(channels: Sequence[str], measurements: Sequence[str], nuclei: bool = False) -> tuple[Column, ...]:
    """Return the columns of `cells.csv`.

    Parameters
    ----------
    channels : sequence of str
        Measured channels.
    measurements : sequence of str
        ImageJ's key words, of `bridge.measurements.WORDS`.
    nuclei : bool
        Nuclei were found, too: what the nuclei of a cell measure together stands behind the cell's own numbers.

    Returns
    -------
    tuple of Column

    Examples
    --------
    >>> [column.name for column in cell_columns(["EdU"], ["area", "mean"])][-3:]
    ['cell_EdU_Mean', 'cell_EdU_raw_Mean', 'cell_EdU_saturated_px']
    """
    if not nuclei:
        return (*_outlined(CELL), *_measured(CELL, channels, measurements))
    union = [
        Column(measure_column(channel, column.heading, NUCLEUS), "float64", column.unit, f"{channel}, all nuclei of the cell: {column.meaning}; empty without one")
        for channel in channels
        for column in columns_of(measurements)
        if column.heading in UNION
    ]  # fmt: skip
    return (
        *_outlined(CELL),
        Column("n_nuclei", "int64", "", "nuclei that lie in the cell: most of their pixels do"),
        Column("nucleus_area_px2", "int64", "px2", "pixels of these nuclei"),
        *_measured(CELL, channels, measurements),
        *union,
    )


def nucleus_columns(channels: Sequence[str], measurements: Sequence[str], rings: bool = False) -> tuple[Column, ...]:
    """Return the columns of `nuclei.csv`; parameters as of `cell_columns`, with the rings around the nuclei if asked.

    Examples
    --------
    >>> [column.name for column in nucleus_columns(["EdU"], ["area", "mean"])][4:6]
    ['label', 'cell']
    """
    keys, own = _outlined(NUCLEUS)[: len(KEYS) + 1], _outlined(NUCLEUS)[len(KEYS) + 1 :]
    cell = Column("cell", "Int64", "", "the cell that holds most of its pixels; empty where most lie outside of cells")
    of_rings = [
        Column("ring_area_px2", "int64", "px2", "pixels of the ring around the nucleus, within its cell"),
        *(
            Column(measure_column(channel, c.heading, RING), "float64", c.unit, f"{channel} in the ring: {c.meaning}; empty without room for one")
            for channel in channels
            for c in columns_of(measurements)
            if not c.of_outline
        ),
    ]  # fmt: skip
    return (*keys, cell, *own, *_measured(NUCLEUS, channels, measurements), *(of_rings if rings else ()))


def _outlined(what: str) -> tuple[Column, ...]:
    """Columns of an outline: whose it is, where and how large."""
    return (
        *KEYS,
        Column("label", "int64", "", "id in its label image; the name of its ROI"),
        Column(f"{what}_area_px2", "int64", "px2", f"pixels of the {what}"),
        Column(f"{what}_area_um2", "float64", "um2", f"area of the {what}; empty where not calibrated"),
        Column(f"{what}_x_px", "float64", "px", "centroid, from the left edge of the image"),
        Column(f"{what}_y_px", "float64", "px", "centroid, from the upper edge of the image"),
        Column("touches_border", "bool", "", "cut by the edge of the image"),
    )


def _measured(what: str, channels: Sequence[str], measurements: Sequence[str]) -> tuple[Column, ...]:
    columns = []
    for channel in channels:
        columns += [
            Column(measure_column(channel, c.heading, what), "float64", c.unit, f"{channel} of the {what}: {c.meaning}")
            for c in columns_of(measurements)
            if not c.of_outline
        ]
        raw, full = (measure_column(channel, name, what) for name in ("raw_Mean", "saturated_px"))
        columns.append(Column(raw, "float64", GREY, f"{channel} of the {what}: mean before background subtraction"))
        columns.append(Column(full, "int64", "px", f"{channel}: pixels of the {what} at the camera's limit"))
    return tuple(columns)


def replicate_columns(measured: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of `replicates.csv` for the measured columns of `cells.csv`."""
    columns = [
        *KEYS[1:3],
        Column("n_fields", "int64", "", "fields"),
        Column("n_cells", "int64", "", "cells"),
        Column("n_nuclei", "Int64", "", "nuclei in the count channel; empty without one"),
    ]
    for column in measured:
        for statistic in ("median", "mean"):
            columns.append(
                Column(
                    f"{column.name}_{statistic}", "float64", column.unit, f"{statistic} over cells: {column.meaning}"
                )
            )
    return tuple(columns)


def measured_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of `cells.csv` that a statistic makes sense of: areas and intensities."""
    skip = {
        "label",
        "cell",
        "class_probability",
        "track_id",
        "lineage_id",
        "frame",
        "class_margin",
        *(f"{what}_{axis}_px" for what in (CELL, NUCLEUS) for axis in "xy"),
    }
    return tuple(c for c in columns if c.dtype in ("float64", "int64") and c.name not in skip)


def empty_table(columns: Sequence[Column]) -> pd.DataFrame:
    """Return a table without rows, with the declared types."""
    import pandas as pd

    any_text()
    return pd.DataFrame({column.name: pd.Series(dtype=column.dtype) for column in columns})


def typed_table(rows: Sequence[Mapping[Any, Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """Return rows as a table with the declared columns and types."""
    import pandas as pd

    any_text()
    return pd.DataFrame(rows, columns=[c.name for c in columns]).astype({c.name: c.dtype for c in columns})


def write_table(path: Path, table: pd.DataFrame, columns: Sequence[Column]) -> None:
    """Write a table as CSV: the declared columns in their order, floats in full precision.

    Raises
    ------
    TableError
        A column is missing.
    """
    write_text(path, csv_text(path, table, columns))


def csv_text(path: Path, table: pd.DataFrame, columns: Sequence[Column], heading: bool = True) -> str:
    """Return the text of the table that `path` is to hold; without its first line unless `heading`."""
    names = [column.name for column in columns]
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise TableError(
            f"{path}: a column is missing (got {', '.join(map(str, table.columns))}, expected {missing[0]}). Please report this."
        )
    text: str = with_r_booleans(table[names]).to_csv(index=False, header=heading, lineterminator="\n")
    return text


def with_r_booleans(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose truth values are written as R reads them: TRUE and FALSE."""
    flags = [name for name in table.columns if str(table[name].dtype) in ("bool", "boolean")]
    words = {True: "TRUE", False: "FALSE"}
    return table.assign(**{name: table[name].map(words, na_action="ignore") for name in flags}) if flags else table


def read_table(path: Path, columns: Sequence[Column]) -> pd.DataFrame:
    """Read a table that `write_table` wrote; every float comes back to the last bit.

    Raises
    ------
    TableError
        No such file, or a column is missing.
    """
    import pandas as pd

    any_text()
    dtypes = {column.name: column.dtype for column in columns}
    try:
        table: pd.DataFrame = pd.read_csv(
            path,
            dtype=dtypes,
            keep_default_na=False,
            na_values={name: [""] for name, dtype in dtypes.items() if dtype != "str"},
            **_exact_floats(pd.__version__),
        )
    except FileNotFoundError:
        raise TableError(f"{path}: no such table. Run `cellpose-fiji run` first.") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise TableError(f"{path}: not the table this program wrote ({error}). Delete it and run again.") from error
    missing = [name for name in dtypes if name not in table.columns]
    if missing:
        raise TableError(
            f"{path}: a column is missing (got {', '.join(map(str, table.columns))}, expected {missing[0]}). Delete it and run again."
        )
    return table[list(dtypes)]


def read_whole_table(path: Path, columns: Sequence[Column] = ()) -> pd.DataFrame:
    """Read every column of a table of a run, floats to the last bit: those declared, and `KEYS`, by their types.

    What a sample sheet added is a number or a text as it looks.
    """
    import pandas as pd

    any_text()
    dtypes = {column.name: column.dtype for column in (*KEYS, *columns)}
    names = pd.read_csv(path, nrows=0).columns
    table: pd.DataFrame = pd.read_csv(
        path,
        dtype={name: dtypes[name] for name in names if name in dtypes},
        keep_default_na=False,
        na_values={name: [""] for name in names if dtypes.get(name) != "str"},
        low_memory=False,
        **_exact_floats(pd.__version__),
    )
    return table


def _exact_floats(pandas_version: str) -> dict[str, Any]:
    """Before pandas 3.1 the default parser changes the last bits of one double in nine; from then on it is exact."""
    major, minor = (int(part) for part in pandas_version.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}


def any_text() -> None:
    """Let pandas hold texts as Python does: pyarrow's, its choice where that is installed, take no file name that is no UTF-8."""
    import pandas as pd

    pd.set_option("mode.string_storage", "python")
