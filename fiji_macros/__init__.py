"""Macros that a Fiji user runs; a data package, found by importlib.resources."""
