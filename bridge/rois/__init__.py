"""Label image <-> ImageJ ROI set, exact to the pixel."""

from bridge.rois.roiset import (
    decode_roiset,
    encode_roiset,
    read_roiset,
    selections_of,
    selections_to_labels,
    verify_roiset,
)

__all__ = ["decode_roiset", "encode_roiset", "read_roiset", "selections_of", "selections_to_labels", "verify_roiset"]
