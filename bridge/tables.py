"""Every table's columns: name, type, unit, meaning. Declared once; files, workbooks and documentation derive from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import TableError
from bridge.files import write_text

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
)

COUNTS = (
    *KEYS,
    Column("n_cells", "Int64", "", "cells found in the segment channel"),
    Column("n_nuclei", "Int64", "", "nuclei found in the count channel; empty without one"),
)

FAILURES = (
    Column("field_id", "str", "", "field that failed"),
    Column("step", "str", "", "step at which it failed"),
    Column("error", "str", "", "kind of error"),
    Column("message", "str", "", "what is wrong and what to do"),
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

_SCORED = (
    Column("n_true", "int64", "", "true cells"),
    Column("n_predicted", "int64", "", "predicted cells"),
    Column("count_error", "int64", "", "predicted less true cells"),
    Column("merged", "int64", "", "predicted cells with more than half of each of several true cells"),
    Column("split", "int64", "", "true cells with more than half of each of several predicted cells"),
)
_THRESHOLDS = range(50, 100, 5)
_INSTANCES = (
    Column("tp", "int64", "", "predicted cells with a true partner (IoU 0.5 or above)"),
    Column("fp", "int64", "", "predicted cells without"),
    Column("fn", "int64", "", "true cells without"),
    Column("precision", "float64", "", "TP / (TP + FP)"),
    Column("recall", "float64", "", "TP / (TP + FN)"),
    Column("f1", "float64", "", "2 TP / (2 TP + FP + FN)"),
    Column("mean_iou", "float64", "", "mean IoU of the partners; empty without any"),
)
_PIXELS = tuple(
    Column(f"pixel_{name}", "float64", "", f"of pixels, cell against background: {meaning}")
    for name, meaning in (
        ("dice", "2 TP / (2 TP + FP + FN)"),
        ("iou", "TP / (TP + FP + FN)"),
        ("precision", "TP / (TP + FP)"),
        ("recall", "TP / (TP + FN)"),
        ("accuracy", "(TP + TN) / all"),
    )
)
_AVERAGE_PRECISION = tuple(
    Column(f"ap_{t}", "float64", "", f"TP / (TP + FP + FN), partners from an IoU of {t / 100:g} on")
    for t in _THRESHOLDS
)
_RULE = Column(
    "rule",
    "str",
    "",
    "which cells tp, fp, fn, precision, recall, f1 and mean_iou count: all, or those of the NeurIPS 2022 challenge; everything else counts all",
)
_ON_THE_SIDE = (
    Column("panoptic_quality", "float64", "", "sum of the partners' IoU / (TP + FP / 2 + FN / 2)"),
    Column("aggregated_jaccard", "float64", "", "shared pixels over the union, cell by cell"),
    Column("boundary_f1", "float64", "", "F1 of the pixels of the outlines; empty unless asked for"),
)
EVALUATED_IMAGES = (
    Column("prediction", "str", "", "whose label images"),
    Column("image", "str", "", "name of the image"),
    _RULE,
    *_SCORED,
    *_AVERAGE_PRECISION,
    *_INSTANCES,
    *_PIXELS,
    *_ON_THE_SIDE,
)
EVALUATED_SETS = (
    Column("prediction", "str", "", "whose label images"),
    _RULE,
    Column("n_images", "int64", "", "images"),
    *_SCORED,
    *(
        Column(f"{c.name}_pooled", c.dtype, c.unit, f"{c.meaning}; over the cells or pixels of all images")
        for c in (*_AVERAGE_PRECISION, *_INSTANCES, *_PIXELS)
    ),
    *(
        Column(f"{c.name}_{how}", "float64", c.unit, f"{c.meaning}; {how} over images")
        for c in (*_SCORED, *_AVERAGE_PRECISION, *_INSTANCES, *_PIXELS, *_ON_THE_SIDE)
        for how in ("mean", "lowest", "highest")
    ),
)
MATCHES = (
    Column("prediction", "str", "", "whose label image"),
    Column("image", "str", "", "name of the image"),
    Column("true_label", "int64", "", "true cell; 0 where a predicted one has no partner"),
    Column("predicted_label", "int64", "", "predicted cell; 0 where a true one has no partner"),
    Column("iou", "float64", "", "intersection over union; 0 without a partner"),
)

_TUNED = tuple(
    Column(f"{score}_{which}", "float64", "", f"{meaning}, {of}")
    for score, meaning in (
        ("ap_50", "average precision at IoU 0.5"),
        ("ap_75", "average precision at IoU 0.75"),
        ("ap_90", "average precision at IoU 0.9"),
        ("f1", "F1 at IoU 0.5"),
    )
    for which, of in (("base", "base model"), ("tuned", "trained model"), ("difference", "trained less base model"))
)
_ROIS = (
    Column("n_true", "int64", "", "cells in the ground truth"),
    Column("n_base", "Int64", "", "ROIs of the base model; empty without one"),
    Column("n_tuned", "int64", "", "ROIs of the trained model"),
)
BEFORE_AFTER = (
    Column("set", "str", "", "held-out, training, or leave-one-out (a model trained without this image)"),
    Column("image", "str", "", "name of the image"),
    *_ROIS,
    *_TUNED,
)
BEFORE_AFTER_SETS = (
    Column("set", "str", "", "as in before_after.csv"),
    Column("n_images", "int64", "", "images"),
    *_ROIS,
    *_TUNED,
    *(
        Column(
            f"{c.name}_{end}",
            "float64",
            "",
            f"{c.meaning}: {end} end of the 95 % bootstrap interval over images; from six on",
        )
        for c in _TUNED
        if c.name.endswith("_difference")
        for end in ("low", "high")
    ),
)
TRAINING_CURVE = (
    Column("epoch", "int64", "", "epoch, from 1"),
    Column("learning_rate", "float64", "", "learning rate"),
    Column("loss", "float64", "", "mean loss of the epoch's crops"),
    Column(
        "validation_ap_50",
        "float64",
        "",
        "average precision at IoU 0.5 of the validation images; empty where not looked",
    ),
)
CYCLES = (
    Column("cycle", "int64", "", "number of the training"),
    Column("model", "str", "", "model file"),
    Column("base", "str", "", "model it began from"),
    Column("n_images", "int64", "", "images trained on"),
    Column("n_cells", "int64", "", "cells in them"),
    Column("model_sha256", "str", "", "of the model file"),
    Column("n_held_out", "int64", "", "images held out"),
    *(Column(f"held_out_{c.name}", c.dtype, "", f"{c.meaning}; mean over held-out images") for c in _TUNED),
)

_MEAN_SCORES = (
    Column("n_images", "int64", "", "images"),
    Column("n_true", "int64", "", "cells in the ground truth"),
    Column("n_predicted", "int64", "", "cells found"),
    Column("ap_50", "float64", "", "average precision at IoU 0.5, mean over images"),
    Column("ap_75", "float64", "", "average precision at IoU 0.75, mean over images"),
    Column("ap_90", "float64", "", "average precision at IoU 0.9, mean over images"),
    Column("f1", "float64", "", "F1 at IoU 0.5, mean over images"),
)
SWEEP = (
    Column("set", "str", "", "choosing, or held-out"),
    Column("flow_threshold", "float64", "", "largest flow error a cell may have; 0 keeps all"),
    Column("cellprob_threshold", "float64", "", "cell probability threshold"),
    *_MEAN_SCORES,
)
DIAMETERS = (
    Column("image", "str", "", "name of the image"),
    Column("way", "str", "", "none, auto, style, or true (the ground truth's median, not known elsewhere)"),
    Column("true_diameter_px", "float64", "px", "median diameter of the cells in the ground truth"),
    Column("diameter_px", "float64", "px", "diameter the network was given; empty where it does not rescale"),
    *(c for c in _MEAN_SCORES if c.name != "n_images"),
)
ABLATION = (
    Column("arm", "str", "", "what was changed"),
    *_MEAN_SCORES,
    Column("ap_50_difference", "float64", "", "to the row above; of 'instead', to the last '+'"),
)

_CELL = (
    *KEYS,
    Column("label", "int64", "", "id of the cell in its label image; the name of its ROI"),
    Column("cell_area_px2", "int64", "px2", "pixels of the cell"),
    Column("cell_area_um2", "float64", "um2", "area of the cell; empty where not calibrated"),
    Column("cell_x_px", "float64", "px", "centroid, from the left edge of the image"),
    Column("cell_y_px", "float64", "px", "centroid, from the upper edge of the image"),
    Column("touches_border", "bool", "", "the cell is cut by the edge of the image"),
)

# ImageJ's words for ImageJ's numbers, after background subtraction.
_IMAGEJ = {
    "Mean": ("grey level", "mean after background subtraction"),
    "StdDev": ("grey level", "standard deviation after background subtraction"),
    "Min": ("grey level", "minimum after background subtraction"),
    "Max": ("grey level", "maximum after background subtraction"),
    "IntDen": ("grey level x area", "integrated density: Mean x Area, in the image's unit of area"),
    "RawIntDen": ("grey level", "raw integrated density: sum of the pixels after background subtraction"),
    "raw_Mean": ("grey level", "mean before background subtraction"),
}


def measure_column(channel: str, measure: str) -> str:
    """Return the name of a measured column, e.g. ``cell_EdU_Mean``."""
    return f"cell_{channel}_{measure}"


def cell_columns(channels: Sequence[str], headings: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns of `cells.csv`.

    Parameters
    ----------
    channels : sequence of str
        Measured channels.
    headings : sequence of str
        ImageJ's headings that were measured.

    Returns
    -------
    tuple of Column

    Examples
    --------
    >>> [column.name for column in cell_columns(["EdU"], ["Area", "Mean"])][-3:]
    ['cell_EdU_Mean', 'cell_EdU_raw_Mean', 'cell_EdU_saturated_px']
    """
    columns = list(_CELL)
    for channel in channels:
        for heading, (unit, meaning) in _IMAGEJ.items():
            if heading in headings or heading == "raw_Mean":
                columns.append(Column(measure_column(channel, heading), "float64", unit, f"{channel}: {meaning}"))
        columns.append(
            Column(
                measure_column(channel, "saturated_px"),
                "int64",
                "px",
                f"{channel}: pixels of the cell at the camera's limit",
            )
        )
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
    skip = {"label", "cell_x_px", "cell_y_px"}
    return tuple(c for c in columns if c.dtype in ("float64", "int64") and c.name not in skip)


def empty_table(columns: Sequence[Column]) -> pd.DataFrame:
    """Return a table without rows, with the declared types."""
    import pandas as pd

    return pd.DataFrame({column.name: pd.Series(dtype=column.dtype) for column in columns})


def typed_table(rows: Sequence[Mapping[Any, Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """Return rows as a table with the declared columns and types."""
    import pandas as pd

    return pd.DataFrame(rows, columns=[c.name for c in columns]).astype({c.name: c.dtype for c in columns})


def write_table(path: Path, table: pd.DataFrame, columns: Sequence[Column]) -> None:
    """Write a table as CSV: the declared columns in their order, floats in full precision.

    Raises
    ------
    TableError
        A column is missing.
    """
    names = [column.name for column in columns]
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise TableError(
            f"{path}: a column is missing (got {', '.join(map(str, table.columns))}, expected {missing[0]}). Please report this."
        )
    write_text(path, table[names].to_csv(index=False, lineterminator="\n"))


def read_table(path: Path, columns: Sequence[Column]) -> pd.DataFrame:
    """Read a table that `write_table` wrote; every float comes back to the last bit.

    Raises
    ------
    TableError
        No such file, or a column is missing.
    """
    import pandas as pd

    dtypes = {column.name: column.dtype for column in columns}
    try:
        table = pd.read_csv(
            path,
            dtype=dtypes,
            keep_default_na=False,
            na_values={name: [""] for name, dtype in dtypes.items() if dtype != "str"},
            float_precision="round_trip",  # the default parser changes the last bits of one double in nine
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
