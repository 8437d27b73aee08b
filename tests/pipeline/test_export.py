"""A run as other programs take it: read back by their own libraries, and compared."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bridge
from bridge.assay.comparison import COMPARISONS
from bridge.errors import InputError, MissingDependencyError
from bridge.images.label_images import read_labels, write_labels
from bridge.pipeline.run import run
from bridge.synthetic import synthetic_field
from bridge.tables import read_table

HOSTILE = 'Drug "a"; <b> µM, \\n'


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three replicates, so that there is a test; a condition whose name breaks scripts."""
    import tifffile

    folder = tmp_path_factory.mktemp("export")
    sheet = ["file,condition,replicate"]
    for i, condition in enumerate(("DMSO", HOSTILE)):
        for j in range(3):
            field = synthetic_field(
                seed=70 + 3 * i + j, size_px=200, n_cells=14, positive_share=(0.6, 0.4, 0.75)[j] - 0.25 * i
            )
            name = f"f{i}{j}"
            write_labels(folder / "masks" / f"{name}_mask.tif", field.cells)
            (folder / "images").mkdir(exist_ok=True)
            for channel, pixels in (("phase", field.phase), ("EdU", field.edu)):
                tifffile.imwrite(
                    folder / "images" / f"{name}_{channel}.tif",
                    pixels,
                    imagej=True,
                    resolution=(2.0, 2.0),
                    metadata={"axes": "YX", "unit": "um"},
                )
            quoted = condition.replace('"', '""')
            sheet.append(f'{name},"{quoted}",0{j + 1}')
    (folder / "s.csv").write_text("\n".join(sheet), "utf-8")
    report = run(
        folder / "images",
        folder / "results",
        samples=folder / "s.csv",
        masks=folder / "masks",
        engine="native",
        edu_threshold=["300"],
        control="DMSO",
    )
    assert not report.failures
    return folder / "results"


def cells_of(results: Path) -> pd.DataFrame:
    return pd.read_csv(
        results / "cells.csv",
        float_precision="round_trip",
        keep_default_na=False,
        na_values=[""],
        dtype={"replicate": str},
    )


def test_parquet(results: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    (path,) = bridge.export(results, ["parquet"], tmp_path)
    table = pyarrow.parquet.read_table(path)
    own = cells_of(results)
    found = table.to_pandas()
    assert found["cell_EdU_Mean"].tolist() == own["cell_EdU_Mean"].tolist()
    assert set(found["condition"]) == {"DMSO", HOSTILE}
    assert set(found["replicate"]) == {"01", "02", "03"}  # names, as they were written
    assert found["touches_border"].dtype == bool
    assert table.schema.field("cell_area_um2").metadata == {
        b"unit": b"um2",
        b"meaning": b"area of the cell; empty where not calibrated",
    }
    before = path.read_bytes()
    bridge.export(results, ["parquet"], tmp_path)
    assert path.read_bytes() == before


def test_anndata(results: Path, tmp_path: Path) -> None:
    import anndata

    (path,) = bridge.export(results, ["anndata"], tmp_path)
    found, own = anndata.read_h5ad(path), cells_of(results)
    assert found.shape[0] == len(own)
    assert found.obs_names.is_unique
    np.testing.assert_array_equal(found[:, "cell_EdU_Mean"].X.ravel(), own["cell_EdU_Mean"])
    assert found.obs["condition"].astype(str).tolist() == own["condition"].tolist()
    assert found.var.loc["cell_area_um2", "unit"] == "um2"
    np.testing.assert_array_equal(found.obsm["spatial"], own[["cell_x_px", "cell_y_px"]])


def test_fcs(results: Path, tmp_path: Path) -> None:
    import flowio

    paths = bridge.export(results, ["fcs"], tmp_path)
    assert len(paths) == 6
    own = cells_of(results)
    read = [flowio.FlowData(str(path)) for path in paths]
    assert sum(data.event_count for data in read) == len(own)
    first = own[(own["condition"] == "DMSO") & (own["replicate"] == "01")]
    names = (
        [read[0].channels[k]["pnn"] for k in sorted(read[0].channels)]
        if isinstance(read[0].channels, dict)
        else read[0].pnn_labels
    )
    events = np.reshape(read[0].events, (-1, read[0].channel_count))
    np.testing.assert_allclose(events[:, names.index("cell_EdU_Mean")], first["cell_EdU_Mean"], rtol=1e-6)


def test_ome_zarr_with_labels(results: Path, tmp_path: Path) -> None:
    import tensorstore
    import yaozarrs

    paths = bridge.export(results, ["ome-zarr"], tmp_path)
    assert len(paths) == 6
    yaozarrs.validate_zarr_store(str(paths[0]))
    name = paths[0].stem
    array = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(paths[0] / "labels" / "cells" / "0")}}
    ).result()
    mask = next((results / "masks").rglob(f"{name}_mask.tif"))
    np.testing.assert_array_equal(array.read().result(), read_labels(mask))


def test_file_list_and_excel_abroad(results: Path, tmp_path: Path) -> None:
    (path,) = bridge.export(results, ["file-list"], tmp_path)
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    assert len(table) == 6 * 4
    assert table.columns.tolist() == ["Files", "Type", "Channel", "Condition", "Replicate", "Sample", "Field"]
    assert all(
        (results.parent / "images" / f).exists() or (results / f.removeprefix("results/")).exists()
        for f in table["Files"]
    )
    bridge.export(results, ["csv-semicolon"], tmp_path)
    content = (tmp_path / "excel" / "cells.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    # But for the marks and the commas, the table as it is: every digit, every name.
    given = pd.read_csv(results / "cells.csv", dtype=str, keep_default_na=False)
    copied = pd.read_csv(
        tmp_path / "excel" / "cells.csv", sep=";", encoding="utf-8-sig", dtype=str, keep_default_na=False
    )
    numbers = cells_of(results).select_dtypes("float").columns
    copied[numbers] = copied[numbers].apply(lambda column: column.str.replace(",", "."))
    pd.testing.assert_frame_equal(copied, given)
    assert set(copied["replicate"]) == {"01", "02", "03"}
    read = pd.read_csv(
        tmp_path / "excel" / "cells.csv", sep=";", decimal=",", encoding="utf-8-sig", float_precision="round_trip"
    )
    assert read["cell_EdU_Mean"].tolist() == cells_of(results)["cell_EdU_Mean"].tolist()
    assert set(pd.read_csv(tmp_path / "excel" / "cells.csv", sep=";", dtype=str)["touches_border"]) <= {"TRUE", "FALSE"}


def test_the_methods_say_what_was_compared(results: Path) -> None:
    said = "not of cells; conditions were compared with DMSO on replicates alone, with Holm's correction for several comparisons."
    assert said in (results / "methods.txt").read_text("utf-8")


@pytest.mark.skipif(
    shutil.which("Rscript") is None, reason="R is not here (apt-get install r-base-core r-cran-ggplot2)"
)
def test_r_script_draws_and_makes_the_same_test(results: Path, tmp_path: Path) -> None:
    out = results / "export"
    (path,) = bridge.export(results, ["r"])
    done = subprocess.run(
        ["Rscript", "--vanilla", str(path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert {p.name for p in out.glob("*.png")} == {"superplot.png", "share_EdU.png"}
    expected = read_table(results / "comparisons.csv", COMPARISONS).iloc[0]["p"]
    printed = [line.split() for line in done.stdout.splitlines() if line.strip().endswith(tuple("0123456789"))]
    assert float(printed[-1][-2]) == pytest.approx(expected, rel=1e-8)
    # R reads the truth values as such, and the conditions whole.
    check = f"x <- read.csv({json.dumps(str(results / 'cells.csv'))}); cat(class(x$touches_border), length(unique(x$condition)))"
    assert (
        subprocess.run(["Rscript", "--vanilla", "-e", check], capture_output=True, text=True, check=True).stdout
        == "logical 2"
    )


def test_what_cannot_be_exported(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with pytest.raises(InputError, match="not the folder of a run"):
        bridge.export(tmp_path, ["parquet"])
    monkeypatch.setitem(sys.modules, "flowio", None)
    with pytest.raises(MissingDependencyError) as refused:
        bridge.export(results, ["fcs"], tmp_path)
    assert (
        str(refused.value)
        == "export --as fcs: a library is not installed (expected the extra fcs). Install it: pip install 'cellpose-fiji-bridge[fcs]'"
    )
