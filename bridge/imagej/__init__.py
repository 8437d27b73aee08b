"""ImageJ's arithmetic: rolling ball and Measure, by ImageJ's own classes in a process of their own."""

from bridge.imagej.engine import Background, FijiEngine, Measured

__all__ = ["Background", "FijiEngine", "Measured"]
