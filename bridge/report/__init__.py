"""Figures, pictures and workbooks."""
