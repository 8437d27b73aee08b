"""The steps of the pipeline, one file each, in their order."""

from __future__ import annotations

from bridge.pipeline.steps.checks import CHECKS
from bridge.pipeline.steps.classes import CLASSES
from bridge.pipeline.steps.corrected import CORRECTED
from bridge.pipeline.steps.figures import FIGURES
from bridge.pipeline.steps.filter import FILTER
from bridge.pipeline.steps.measure import ARITHMETIC, MEASURE, MEASURED_IMAGES
from bridge.pipeline.steps.network import CELL_NETWORK, NUCLEUS_NETWORK
from bridge.pipeline.steps.nuclei import NUCLEI_ROIS
from bridge.pipeline.steps.pictures import ALL_CONDITIONS, CONTACT_SHEET, PICTURES
from bridge.pipeline.steps.read import COUNT_IMAGE, SEGMENT_IMAGE
from bridge.pipeline.steps.rings import RINGS
from bridge.pipeline.steps.rois import ROIS
from bridge.pipeline.steps.segment import COUNT, SEGMENT
from bridge.pipeline.steps.tables import TABLES
from bridge.pipeline.steps.tracks import TRACKS

ORDER = (
    SEGMENT_IMAGE,
    CELL_NETWORK,
    SEGMENT,
    FILTER,
    CORRECTED,
    COUNT_IMAGE,
    NUCLEUS_NETWORK,
    COUNT,
    ROIS,
    NUCLEI_ROIS,
    RINGS,
    MEASURED_IMAGES,
    ARITHMETIC,
    MEASURE,
    CHECKS,
    CLASSES,
    PICTURES,
    CONTACT_SHEET,
    ALL_CONDITIONS,
    TRACKS,
    TABLES,
    FIGURES,
)
