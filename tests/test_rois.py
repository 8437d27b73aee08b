from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridge.errors import RoiError
from bridge.imagej import FijiEngine
from bridge.labels import as_labels, label_areas, label_ids
from bridge.rois import encode_roiset, labels_to_rois, read_roiset, rois_to_labels, verify_roiset, write_roiset


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


def test_every_shape_is_exact(tmp_path: Path) -> None:
    labels = as_labels(shapes())
    path = tmp_path / "a_RoiSet.zip"
    write_roiset(path, labels_to_rois(labels))
    assert verify_roiset(path, labels) == label_ids(labels).size
    rois = read_roiset(path)
    assert [int(roi.name) for roi in rois] == label_ids(labels).tolist()
    assert {roi.name: roi.roitype.name for roi in rois}["00003"] == "TRACED"
    assert {roi.name: roi.roitype.name for roi in rois}["00007"] == "RECT"  # a composite


def test_imagej_selects_exactly_the_labels(imagej: FijiEngine) -> None:
    labels = as_labels(shapes())
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60000, labels.shape).astype(np.uint16)
    measured = imagej.measure(image, encode_roiset(labels_to_rois(labels)), "shapes.tif", background=None)
    ids = label_ids(labels)
    assert measured.area_px.tolist() == label_areas(labels)[ids].tolist()
    sums = [float(image[labels == i].sum()) for i in ids]
    np.testing.assert_allclose(measured.columns["RawIntDen"], sums, rtol=1e-14)
    assert measured.columns["Min"].tolist() == [float(image[labels == i].min()) for i in ids]
    assert measured.columns["Max"].tolist() == [float(image[labels == i].max()) for i in ids]


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
    again = rois_to_labels(labels_to_rois(labels), labels.shape)
    np.testing.assert_array_equal(again, labels)


def test_imagej_decodes_random_labels_exactly(imagej: FijiEngine) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        # Blobs of three sizes and salt: thousands of labels with holes, parts and corner contacts.
        coarse = rng.integers(0, 40, (30, 40)).repeat(6, 0).repeat(6, 1)
        labels = as_labels(np.where(rng.random(coarse.shape) < 0.2, rng.integers(0, 40, coarse.shape), coarse))
        image = rng.integers(0, 255, labels.shape).astype(np.uint8)
        measured = imagej.measure(image, encode_roiset(labels_to_rois(labels)), "r.tif", background=None)
        ids = label_ids(labels)
        assert measured.area_px.tolist() == label_areas(labels)[ids].tolist()
        sums = np.bincount(labels.ravel(), image.ravel())[ids]
        np.testing.assert_allclose(measured.columns["RawIntDen"], sums, rtol=1e-14)


def test_empty_label_image(tmp_path: Path) -> None:
    path = tmp_path / "e_RoiSet.zip"
    labels = np.zeros((10, 10), np.uint16)
    write_roiset(path, labels_to_rois(labels))
    assert verify_roiset(path, labels) == 0
    assert zipfile.ZipFile(path).namelist() == []


def test_same_labels_same_bytes() -> None:
    assert encode_roiset(labels_to_rois(as_labels(shapes()))) == encode_roiset(labels_to_rois(as_labels(shapes())))


def test_one_pixel_of_difference_is_found(tmp_path: Path) -> None:
    labels = as_labels(shapes())
    path = tmp_path / "a_RoiSet.zip"
    write_roiset(path, labels_to_rois(labels))
    other = labels.copy()
    other[75, 76] = 500
    with pytest.raises(RoiError) as refused:
        verify_roiset(path, other)
    assert str(refused.value) == (
        f"{path}: does not equal its label image (got 12 ROIs and 1 different px, expected 12 and 0). "
        "This is a fault of the program: please report it with the label image."
    )


def test_damaged_roi_sets(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with pytest.raises(RoiError, match=r"a\.zip: cannot be read \(No such file or directory\)\. Check the path\.$"):
        read_roiset(path)
    path.write_bytes(b"no zip")
    with pytest.raises(
        RoiError, match=r"a\.zip: damaged, or not a ROI set \(File is not a zip file\)\. Save the ROI set again\.$"
    ):
        read_roiset(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.roi", b"Iout")
    with pytest.raises(RoiError, match=r"1\.roi is not a ROI"):
        read_roiset(path)
    content = encode_roiset(labels_to_rois(np.ones((3, 3), np.uint16)))
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("00001.roi", b"Iout")
    with pytest.raises(RoiError, match=r"two ROIs of one name \(got 00001\.roi twice, expected each once\)"):
        read_roiset(path)


def test_roi_sets_of_others_are_refused_with_a_reason() -> None:
    (roi,) = labels_to_rois(np.ones((3, 3), np.uint16))
    with pytest.raises(
        RoiError, match=r"^ROI set: 00001 leaves the image \(expected 2 x 2 px\)\. It belongs to another image\.$"
    ):
        rois_to_labels([roi], (2, 2))
    with pytest.raises(RoiError, match=r"lies over another ROI \(got 9 px in both, expected 0\)"):
        rois_to_labels([roi, roi], (3, 3))
    roi.name = "cell A"
    with pytest.raises(RoiError, match=r"a ROI whose name is no label \(got 'cell A'"):
        rois_to_labels([roi], (3, 3))
