"""Label image <-> ImageJ ROI set, exact to the pixel."""

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
    "compiled",
    "decode_roiset",
    "encode_roiset",
    "read_roiset",
    "selections_of",
    "selections_to_labels",
    "verify_roiset",
]
