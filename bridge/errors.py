"""The errors users see. Text: ``<file or field>: <what> (got X, expected Y). <what to do>``."""

from __future__ import annotations


class BridgeError(Exception):
    """Root of every error this package raises on purpose; its text is written for users."""

    exit_code = 1


class InputError(BridgeError):
    """An image, folder, sample sheet or setting that cannot be used."""

    exit_code = 2


class LabelError(InputError):
    """A label image that breaks the label-image contract."""


class RoiError(BridgeError):
    """A ROI set that cannot be read, or that does not equal its label image."""


class NoAreaError(RoiError):
    """A ROI of a kind that encloses no pixels: a line, a point, a text."""


class SegmentationError(BridgeError):
    """Cellpose could not segment an image."""


class StoppedError(BridgeError):
    """Who waited for the result asked to stop."""


class ModelError(InputError):
    """A model that does not exist or belongs to the other Cellpose version."""


class ImageJError(BridgeError):
    """ImageJ failed, died or did not answer in time."""


class TableError(BridgeError):
    """A table without the columns or rows it must have."""


class OutputError(InputError):
    """A results folder or file that cannot be written, or that must not be overwritten."""


class StaleError(OutputError):
    """Results that were made from something else than what is there now."""


class MissingDependencyError(BridgeError):
    """Something this machine lacks: Java, ImageJ, weights, a network for the first download."""

    exit_code = 3
