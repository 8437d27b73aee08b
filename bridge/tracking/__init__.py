"""Cells followed over the frames of a series: links, gaps, divisions, and the files of other trackers."""
