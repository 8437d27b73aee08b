"""Image -> label image, by Cellpose 3.1.1.3 or 4.2.1 and later. The only importer of cellpose and torch."""

from bridge.segmentation.load import new_network
from bridge.segmentation.models import CYTO_0, DEMO, ModelFile, cellpose_version, resolve_model
from bridge.segmentation.recipe import Recipe
from bridge.segmentation.segment import Segmented, Segmenter, median_diameter, median_diameters
from bridge.segmentation.size import write_size_model

__all__ = [
    "CYTO_0",
    "DEMO",
    "ModelFile",
    "Recipe",
    "Segmented",
    "Segmenter",
    "cellpose_version",
    "median_diameter",
    "median_diameters",
    "new_network",
    "resolve_model",
    "write_size_model",
]
