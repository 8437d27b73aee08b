"""Image -> label image, by Cellpose 3.1.1.3 or 4.2.1 and later. The only importer of cellpose and torch."""

from bridge.segmentation.models import CYTO_0, DEMO, ModelFile, resolve_model
from bridge.segmentation.segment import Segmented, Segmenter

__all__ = ["CYTO_0", "DEMO", "ModelFile", "Segmented", "Segmenter", "resolve_model"]
