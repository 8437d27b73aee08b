from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from roifile import ROI_TYPE, ImagejRoi, roiread
from small import hand_drawn, zipped

from bridge.calibration import GREY_LEVELS, Calibration, ValueCalibration
from bridge.errors import RoiError
from bridge.imagej.both import DoubleEntry
from bridge.imagej.fiji import FijiEngine
from bridge.labels import as_labels, label_areas, label_ids
from bridge.measurements import IMAGEJ_ONLY, WORDS
from bridge.rois.draw import Loss, selections_to_labels
from bridge.rois.roiset import (
    decode_roiset,
    encode_roiset,
    read_roiset,
    selections_of,
    verify_roiset,
)
from bridge.selections import Selections


def shapes() -> np.ndarray:
    """Discs, a ring, nested cells, corner-touching pixels, two parts, one pixel, lines, the border; gaps in the ids."""
    labels = np.zeros((80, 100), np.uint32)
    y, x = np.mgrid[:80, :100]
    labels[(y - 20) ** 2 + (x - 20) ** 2 < 15**2] = 3
    ring = (y - 20) ** 2 + (x - 60) ** 2
    labels[(ring < 15**2) & (ring > 6**2)] = 7
    labels[ring < 4**2] = 8
    for i in range(5):
        labels[50 + i, 10 + i] = 70000  # a diagonal: corners only
    labels[45:48, 40:43] = 12
    labels[60:64, 50:52] = 12
    labels[75, 75] = 500
    labels[70, 10:30] = 501
    labels[55:75, 90] = 502
    labels[0, :] = 600
    labels[79, 60:] = 601
    labels[10:20, 99] = 602
    checker = (y + x) % 2 == 0
    labels[(y >= 44) & (y < 52) & (x >= 60) & (x < 70) & checker] = 603
    return labels


# ---------------------------------------------------------------- labels -> ROI set -> labels


def test_every_shape_is_exact(tmp_path: Path) -> None:
    labels = as_labels(shapes())
    path = tmp_path / "a_RoiSet.zip"
    path.write_bytes(encode_roiset(labels))
    found = read_roiset(path, labels.shape)
    assert verify_roiset(found, labels) == label_ids(labels).size
    assert found.names == tuple(f"{i:05d}" for i in label_ids(labels))
    np.testing.assert_array_equal(found.area_px, label_areas(labels)[label_ids(labels)])
    rois = {roi.name: roi for roi in roiread(path)}  # as another library reads it
    assert rois["00003"].roitype == ROI_TYPE.TRACED
    assert rois["00007"].multi_coordinates is not None
    assert zipfile.ZipFile(path).testzip() is None


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.uint32]),
        st.tuples(st.integers(1, 14), st.integers(1, 14)),
        elements=st.integers(0, 4),
    ),
    st.sampled_from([1, 50, 20000, 4_000_000]),
)
def test_labels_to_rois_to_labels_is_the_identity(small: np.ndarray, factor: int) -> None:
    labels = as_labels(small.astype(np.int64) * factor)
    found = selections_of(labels)
    assert verify_roiset(found, labels) == label_ids(labels).size
    again = selections_to_labels(found)
    np.testing.assert_array_equal(again.labels, labels)
    assert not again.losses
    if factor == 1:
        assert encode_roiset(small.astype(np.uint8)) == encode_roiset(labels)


@pytest.mark.slow
def test_a_hundred_thousand_random_labels_without_one_wrong_pixel(imagej: FijiEngine) -> None:
    rng = np.random.default_rng(5)
    total = 0
    while total < 100_000:
        # Blobs, salt, several parts, holes, corners that touch.
        coarse = rng.integers(0, 5000, (60, 100)).repeat(6, 0).repeat(6, 1)
        labels = as_labels(np.where(rng.random(coarse.shape) < 0.1, rng.integers(0, 5000, coarse.shape), coarse))
        found = selections_of(labels)
        total += verify_roiset(found, labels)
        # ImageJ's own decoder: as many pixels as the label has, and all of them have its number.
        theirs = imagej.measure(labels, found, "labels.tif", None, measurements=("area", "min")).columns
        ids = label_ids(labels)
        np.testing.assert_array_equal(theirs["Area"], label_areas(labels)[ids])
        np.testing.assert_array_equal(theirs["Min"], ids)
        np.testing.assert_array_equal(theirs["Max"], ids)


def test_empty_label_image() -> None:
    labels = np.zeros((10, 10), np.uint16)
    assert verify_roiset(selections_of(labels), labels) == 0
    assert zipfile.ZipFile(io.BytesIO(encode_roiset(labels))).namelist() == []


def test_more_entries_than_the_first_zip_format_has() -> None:
    labels = np.arange(1, 70_001, dtype=np.uint32).reshape(250, 280)
    content = encode_roiset(labels)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == 70_000
    assert verify_roiset(decode_roiset(content, labels.shape), labels) == 70_000


def test_an_outline_of_more_corners_than_16_bits_count(imagej: FijiEngine) -> None:
    labels = np.ones((300, 400), np.uint16)
    labels[::2, 1::2] = 0  # a comb: one ring around it and a hole in every gap
    labels[1:-1:2, 1:-1] = 1
    comb = np.zeros((34_000, 4), np.uint16)
    comb[:, :2] = 1
    comb[::2, 2:] = 1  # 34,000 teeth in one ring: 68,000 corners
    for image in (labels, comb):
        found = selections_of(image)
        assert verify_roiset(found, image) == 1
        area = imagej.measure(np.ones(image.shape, np.uint8), found, "a", None, measurements=("area",)).columns["Area"]
        assert area.tolist() == [np.count_nonzero(image)]


def test_same_labels_same_bytes() -> None:
    assert encode_roiset(as_labels(shapes())) == encode_roiset(as_labels(shapes()))


def test_one_pixel_of_difference_is_found() -> None:
    labels = as_labels(shapes())
    found = selections_of(labels)
    other = labels.copy()
    other[75, 76] = 500
    with pytest.raises(RoiError) as refused:
        verify_roiset(found, other, "a_RoiSet.zip")
    assert str(refused.value) == (
        "a_RoiSet.zip: does not equal its label image (got 12 ROIs and 1 different px, expected 12 and 0). "
        "This is a fault of the program: please report it with the label image."
    )
    other = labels.copy()
    other[75, 75] = 0
    with pytest.raises(RoiError, match=r"got 12 ROIs and 1 different px, expected 11 and 0"):
        verify_roiset(found, other)
    other[75, 75] = 12
    with pytest.raises(RoiError, match=r"got 12 ROIs and 2 different px, expected 11 and 0"):
        verify_roiset(found, other)


def test_too_large_for_imagej() -> None:
    with pytest.raises(RoiError) as refused:
        encode_roiset(np.zeros((1, 60_001), np.uint8))
    assert str(refused.value) == (
        "label image: too large for ImageJ's ROIs (got 1 x 60001 px, expected sides up to 60000). Crop it."
    )


# ---------------------------------------------------------------- ImageJ reads the same


def test_imagej_selects_exactly_the_labels(imagej: FijiEngine) -> None:
    labels = as_labels(shapes())
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60000, labels.shape).astype(np.uint16)
    measured = imagej.measure(image, selections_of(labels), "shapes.tif", background=None)
    ids = label_ids(labels)
    assert measured.columns["Area"].tolist() == label_areas(labels)[ids].tolist()
    sums = [float(image[labels == i].sum()) for i in ids]
    np.testing.assert_allclose(measured.columns["RawIntDen"], sums, rtol=1e-14)
    assert measured.columns["Min"].tolist() == [float(image[labels == i].min()) for i in ids]
    assert measured.columns["Max"].tolist() == [float(image[labels == i].max()) for i in ids]


def test_the_bytes_are_those_of_imagejs_own_encoder(tmp_path: Path, imagej_with_macros: FijiEngine) -> None:
    # Open and save again, in ImageJ: RoiDecoder, then RoiEncoder.
    found = selections_of(as_labels(shapes()))
    macro = """
        files = split(getArgument(), ",");
        newImage("untitled", "8-bit black", 100, 80, 1);
        for (i=0; i<files.length; i++) {
            open(files[i]);
            saveAs("Selection", replace(files[i], ".roi", "_again.roi"));
        }
        close();
        return "done";
    """
    paths = []
    for k, name in enumerate(found.names):
        paths.append(tmp_path / f"{name}.roi")
        paths[-1].write_bytes(found.encoded[found.offset[k] : found.offset[k + 1]])
    assert imagej_with_macros.run_macro(macro, ",".join(map(str, paths))) == "done"
    for path in paths:
        assert path.with_name(f"{path.stem}_again.roi").read_bytes() == path.read_bytes(), path.stem


# ---------------------------------------------------------------- ROI sets that people draw


def test_hand_drawn_rois_select_imagejs_pixels(imagej: FijiEngine) -> None:
    # A ramp in x and one in y: area and both sums of coordinates agree only if the pixels do.
    shape = (120, 140)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for content in hand_drawn(seed=3, n=300, shape=shape):
        found = decode_roiset(zipped(content), shape)
        assert not found.problem
        assert len(found.names) == 300
        for ramp in (x, y, x * y % 251):
            image = (ramp + 1).astype(np.uint16)
            measured = imagej.measure(image, found, "drawn.tif", background=None, measurements=("area", "mean"))
            flat = np.array(
                [
                    sum(image[r, a:b].sum() for r, a, b in zip(*(v[i:j] for v in (found.row, found.left, found.right)), strict=True))
                    for i, j in zip(found.first[:-1], found.first[1:], strict=True)
                ]
            )  # fmt: skip
            np.testing.assert_array_equal(measured.columns["Area"], found.area_px)
            np.testing.assert_array_equal(measured.columns["Mean"], flat / found.area_px)


def test_a_stored_zip_of_others_is_read_too() -> None:
    roi = ImagejRoi.frompoints([[2, 2], [8, 2], [8, 8], [2, 8]], name="a").tobytes()
    entries = {"a.roi": roi, "notes.txt": b"not a ROI", "b.ROI": roi}
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        found = decode_roiset(zipped(entries, how), (20, 20))
        assert found.names == ("a", "a")
        np.testing.assert_array_equal(found.area_px, [36, 36])


def test_overlaps_are_counted_and_the_first_keeps_its_pixels() -> None:
    def square(left: int, name: str) -> bytes:
        return ImagejRoi(roitype=ROI_TYPE.RECT, left=left, top=0, right=left + 4, bottom=4, name=name).tobytes()

    content = zipped({"cell A.roi": square(0, "cell A"), "cell B.roi": square(2, "cell B")})
    drawn = selections_to_labels(decode_roiset(content, (5, 8)))
    assert drawn.losses == (Loss("cell B", "cell A", 16, 8),)
    assert (drawn.covered, drawn.empty) == ((), ())
    assert drawn.labels[0].tolist() == [1, 1, 1, 1, 2, 2, 0, 0]
    # Names that are labels are kept as ids.
    content = zipped({"00007.roi": square(0, "00007"), "00003.roi": square(4, "00003")})
    assert selections_to_labels(decode_roiset(content, (5, 8))).labels[0].tolist() == [7, 7, 7, 7, 3, 3, 3, 3]


def test_rois_that_others_cover_are_named() -> None:
    def box(name: str, *edges: int) -> bytes:
        left, top, right, bottom = edges
        return ImagejRoi(roitype=ROI_TYPE.RECT, left=left, top=top, right=right, bottom=bottom, name=name).tobytes()

    content = zipped({
        "big.roi": box("big", 0, 0, 10, 10), "in.roi": box("in", 2, 2, 5, 5), "half.roi": box("half", 8, 0, 14, 4),
        "under both.roi": box("under both", 9, 1, 13, 3), "far.roi": box("far", 90, 0, 99, 5),
    })  # fmt: skip
    drawn = selections_to_labels(decode_roiset(content, (12, 20)))
    assert drawn.covered == ("in", "under both")
    assert drawn.empty == ("far",)
    assert drawn.losses == (
        Loss("in", "big", 9, 9), Loss("half", "big", 24, 8), Loss("under both", "big", 8, 2), Loss("under both", "half", 8, 6)
    )  # fmt: skip
    assert np.unique(drawn.labels).tolist() == [0, 1, 3]


def test_rois_of_several_slices_are_refused() -> None:
    rois = {}
    for k, (position, z, t) in enumerate(((1, 0, 0), (2, 0, 0), (0, 3, 2))):
        roi = ImagejRoi(roitype=ROI_TYPE.RECT, left=k, top=0, right=k + 1, bottom=5, name=f"{k}")
        roi.position, roi.z_position, roi.t_position = position, z, t
        rois[f"{k}.roi"] = roi.tobytes()
    with pytest.raises(RoiError) as refused:
        selections_to_labels(decode_roiset(zipped(rois), (5, 8)), "a.zip")
    assert str(refused.value) == (
        "a.zip: ROIs of 3 slices of a stack (got slices 1, 2, 3 of frame 2; expected those of one image). Save the ROIs of each slice as a set of their own."
    )
    # Traced ROIs, which are read another way, too.
    traced = {}
    for k in (1, 2):
        roi = ImagejRoi.frompoints([[k, 0], [k + 2, 0], [k + 2, 3], [k, 3]], name=f"{k}")
        roi.roitype, roi.position = ROI_TYPE.TRACED, k
        traced[f"{k}.roi"] = roi.tobytes()
    with pytest.raises(RoiError, match=r"ROIs of 2 slices of a stack \(got slices 1, 2; "):
        selections_to_labels(decode_roiset(zipped(traced), (5, 8)), "a.zip")


def test_a_single_roi_is_a_set_of_one(tmp_path: Path) -> None:
    roi = ImagejRoi(roitype=ROI_TYPE.OVAL, left=2, top=2, right=7, bottom=7)
    for name, known in (("mine", "mine"), ("", "0001-0123")):
        roi.name = name
        (tmp_path / "0001-0123.roi").write_bytes(roi.tobytes())
        assert read_roiset(tmp_path / "0001-0123.roi", (9, 9)).names == (known,)


def test_what_macos_puts_beside_files_is_no_roi() -> None:
    roi = ImagejRoi(roitype=ROI_TYPE.OVAL, left=2, top=2, right=7, bottom=7, name="a").tobytes()
    content = zipped({"set/a.roi": roi, "__MACOSX/set/._a.roi": b"Mac OS X", "set/._a.roi": b"Mac OS X"})
    assert decode_roiset(content, (9, 9)).names == ("a",)


def test_rois_without_pixels_are_rows_as_imagej_measures_them(imagej: FijiEngine) -> None:
    """Outside of the image, or too thin: area 0, and ImageJ's own stand-ins for the rest."""
    shape = (60, 90)
    thin = ImagejRoi.frompoints([[10, 50], [29, 50], [20, 50]], name="thin")
    rois = {
        "far": ImagejRoi(roitype=ROI_TYPE.OVAL, left=-30, top=2, right=-12, bottom=9, name="far"), "thin": thin,
        "cell": ImagejRoi(roitype=ROI_TYPE.RECT, left=4, top=5, right=12, bottom=8, name="cell"),
        "box": ImagejRoi(roitype=ROI_TYPE.RECT, left=400, top=5, right=412, bottom=8, name="box"),
        "sliver": ImagejRoi.frompoints([[30, 30], [50, 31], [30, 30]], name="sliver"),
    }  # fmt: skip
    found = decode_roiset(zipped({f"{name}.roi": roi.tobytes() for name, roi in rois.items()}), shape)
    assert found.without_pixels == ("far", "thin", "box", "sliver")
    words = tuple(w for w in WORDS if w not in (*IMAGEJ_ONLY, "perimeter", "feret's"))
    rng = np.random.default_rng(1)
    for dtype, top in (("uint8", 200), ("uint16", 3000), ("float32", 500)):
        pixels = rng.integers(1, top, shape).astype(dtype)
        for values in (GREY_LEVELS, ValueCalibration(0, (5.0, 0.5), "nM")):
            calibration = Calibration(0.5, 0.5, "micron", 3.0, values=values)
            measured = DoubleEntry(imagej).measure(pixels, found, "a.tif", None, calibration, words)
            assert measured.columns["Area"].tolist() == [0, 0, 6.0, 0, 0]


def test_a_point_roi_is_a_row_for_each_point(imagej: FijiEngine) -> None:
    points = ImagejRoi.frompoints([[3, 4], [6, 7], [9, 2]], name="points")
    points.roitype = ROI_TYPE.POINT
    line = ImagejRoi(roitype=ROI_TYPE.LINE, name="line")
    line.x1, line.y1, line.x2, line.y2 = 2.0, 2.0, 9.0, 2.0
    cell = ImagejRoi(roitype=ROI_TYPE.RECT, left=4, top=5, right=12, bottom=8, name="cell")
    rois = {f"{roi.name}.roi": roi.tobytes() for roi in (cell, points, line)}
    found = decode_roiset(zipped(rois), (20, 20))
    assert found.points.tolist() == [0, 3, 0]
    image = np.arange(400, dtype=np.uint16).reshape(20, 20)
    rows = imagej.measure(image, found, "a.tif", None).results_csv.decode().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["a.tif:cell", *["a.tif:points"] * 3, "a.tif:line"]
    drawn = selections_to_labels(found)
    assert drawn.empty == ("points", "line")
    assert np.unique(drawn.labels).tolist() == [0, 1]


def test_rois_are_cut_off_at_the_border(imagej: FijiEngine) -> None:
    across = ImagejRoi(roitype=ROI_TYPE.OVAL, left=-5, top=-3, right=9, bottom=12, name="o").tobytes()
    found = decode_roiset(zipped({"o.roi": across}), (30, 40))
    measured = imagej.measure(np.ones((30, 40), np.uint8), found, "a", None)
    assert measured.columns["Area"].tolist() == found.area_px.tolist()


@pytest.mark.parametrize(
    ("roi", "problem"),
    [
        (
            ImagejRoi(roitype=ROI_TYPE.LINE, left=0, top=0, right=9, bottom=9, name="x"),
            "x: of type line, which encloses no pixels (expected an area)",
        ),
        (
            ImagejRoi.frompoints([[2, 2], [8, 2], [8, 8]], name="p", t=0),
            "",
        ),
    ],
)
def test_rois_without_an_area(roi: ImagejRoi, problem: str) -> None:
    found = decode_roiset(zipped({"x.roi": roi.tobytes()}), (20, 20))
    assert found.problem == problem
    if problem:
        # With a cell before it, the set is not its label image's: said, not a crash.
        cell = encode_roiset(np.ones((20, 20), np.uint8))
        with zipfile.ZipFile(io.BytesIO(cell)) as archive:
            both = zipped({"00001.roi": archive.read("00001.roi"), "x.roi": roi.tobytes()})
        with pytest.raises(RoiError, match=r"does not equal its label image \(got 2 ROIs"):
            verify_roiset(decode_roiset(both, (20, 20)), np.ones((20, 20), np.uint8))
        assert selections_to_labels(found, "a.zip").empty == ("x",)


# ---------------------------------------------------------------- damaged and hostile sets


def test_damaged_roi_sets(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with pytest.raises(RoiError, match=r"a\.zip: cannot be read \(No such file or directory\)\. Check the path\."):
        read_roiset(path, (9, 9))
    path.write_bytes(b"PK nothing")
    with pytest.raises(RoiError, match=r"a\.zip: damaged, or not a ROI set \(.*\)\. Save the ROI set again\."):
        read_roiset(path, (9, 9))
    path.write_bytes(zipped({"1.roi": b"Iout"}))
    with pytest.raises(RoiError, match=r"a\.zip: 1\.roi is not a ROI \(.*\)\. Save the ROI set again\."):
        read_roiset(path, (9, 9))
    path.write_bytes(encode_roiset(np.ones((3, 3), np.uint16)))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("00001.roi", b"Iout")
    with pytest.raises(RoiError, match=r"two ROIs of one name \(got 00001\.roi twice, expected each once\)"):
        read_roiset(path, (9, 9))


def test_a_flipped_byte_is_an_error_or_the_same_pixels() -> None:
    labels = as_labels(shapes())
    content = encode_roiset(labels)
    rng = np.random.default_rng(2)
    for _ in range(400):
        bad = bytearray(content)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        try:
            found = decode_roiset(bytes(bad), labels.shape)
        except RoiError:
            continue
        # An entry whose name no longer ends in .roi is no ROI, for ImageJ neither.
        assert same_pixels(found, selections_of(labels)) or len(found.names) == 11


def test_random_bytes_of_a_roi_never_crash() -> None:
    found = selections_of(as_labels(shapes()))
    rng = np.random.default_rng(4)
    for k in (0, 1, 4):
        roi = found.encoded[found.offset[k] : found.offset[k + 1]]
        for _ in range(300):
            bad = bytearray(roi)
            for _ in range(rng.integers(1, 4)):
                bad[rng.integers(4, len(bad))] = rng.integers(256)
            try:
                decode_roiset(zipped({"a.roi": bytes(bad)}), (80, 100))
            except RoiError as error:
                assert str(error).startswith("ROI set: ")  # noqa: PT017


def same_pixels(a: Selections, b: Selections) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("row", "left", "right", "first"))


@pytest.mark.slow
def test_kernels_are_compiled_once(tmp_path: Path) -> None:
    script = tmp_path / "kernels.py"
    script.write_text(
        "import numpy as np\nfrom bridge.rois.trace import compiled\nfrom bridge.rois.trace import _trace, trace_rings\n"
        "before = compiled()\ntrace_rings(np.ones((3, 3), np.uint16))\n"
        "print(before, compiled(), sum(_trace.stats.cache_hits.values()), sum(_trace.stats.cache_misses.values()))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    answers = [
        subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=environment).stdout
        for _ in range(2)
    ]
    assert answers == ["False True 0 1\n", "True True 1 0\n"]
