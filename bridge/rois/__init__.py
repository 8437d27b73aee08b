"""Label image <-> ImageJ ROI set, exact to the pixel."""

from bridge.rois.compare import Change, Difference, apply_corrections, compare
from bridge.rois.roiset import (
    decode_roiset,
    encode_roiset,
    read_roiset,
    selections_of,
    selections_to_labels,
    verify_roiset,
)
from bridge.rois.trace import COMPILING, compiled

__all__ = [
    "COMPILING",
    "Change",
    "Difference",
    "apply_corrections",
    "compare",
    "compiled",
    "decode_roiset",
    "encode_roiset",
    "read_roiset",
    "selections_of",
    "selections_to_labels",
    "verify_roiset",
]
