"""Label image <-> ImageJ ROI set, exact to the pixel."""

from bridge.rois.roiset import (
    encode_roiset,
    labels_to_rois,
    read_roiset,
    rois_to_labels,
    verify_roiset,
    write_roiset,
)

__all__ = ["encode_roiset", "labels_to_rois", "read_roiset", "rois_to_labels", "verify_roiset", "write_roiset"]
