"""Tables of tracks."""

from __future__ import annotations

from bridge.tables import Column

TRACKS = (
    Column("series_id", "str", "", "series of frames"),
    Column("frame", "int64", "", "frame in the series, from 0"),
    Column("field_id", "str", "", "field of view of this frame"),
    Column("label", "int64", "", "id of the cell in this frame's label image"),
    Column("track_id", "int64", "", "the same cell in all frames; in the order of first frame and label"),
    Column("parent_track_id", "int64", "", "track that divided into this one; 0 for none"),
    Column("lineage_id", "int64", "", "track from which all of its relatives come"),
    Column("link_cost", "float64", "", "of the link from the frame before, 0 to 1; empty at a track's begin"),
    Column("gap_frames", "int64", "", "frames before this one in which the cell was not found"),
    Column("y_px", "float64", "px", "centroid, from the upper edge of the image"),
    Column("x_px", "float64", "px", "centroid, from the left edge of the image"),
    Column("area_px2", "int64", "px2", "pixels of the cell"),
    Column("touches_border", "bool", "", "the cell is cut by the edge of the image"),
)
DIVISIONS = (
    Column("series_id", "str", "", "series of frames"),
    Column("mother_track_id", "int64", "", "track that ends"),
    Column("daughter_1_track_id", "int64", "", "track that begins"),
    Column("daughter_2_track_id", "int64", "", "track that begins"),
    Column("frame", "int64", "", "first frame of the daughters"),
    Column("confidence", "float64", "", "0 to 1: a candidate, from the daughters' places and sizes; look at it before you count it"),
    Column("life_frames_min", "int64", "", "frames that the shorter-lived daughter is seen"),
)  # fmt: skip
DRIFT = (
    Column("series_id", "str", "", "series of frames"),
    Column("frame", "int64", "", "frame"),
    Column("drift_y_px", "float64", "px", "by how much the frame is moved against the one before, downwards"),
    Column("drift_x_px", "float64", "px", "to the right"),
)
