"""The grey scale that the network sees."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Normalisation(NamedTuple):
    """How grey levels become what the network sees; the default is Cellpose's own.

    Attributes
    ----------
    percentiles : (float, float)
        They become 0 and 1, as Cellpose's ``normalize99`` does it.
    invert : bool
        Exchange dark and bright after that.
    block_px : int
        Take the percentiles of blocks of this side instead of the whole image (cellpose.transforms.normalize99_tile);
        0 for the whole.
    """

    percentiles: tuple[float, float] = (1.0, 99.0)
    invert: bool = False
    block_px: int = 0

    def apply(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return an image of shape (Y, X) or (C, Y, X) on this grey scale, each plane on its own.

        Examples
        --------
        >>> Normalisation((0, 100), invert=True).apply(np.array([[0, 5], [10, 10]])).tolist()
        [[1.0, 0.5], [0.0, 0.0]]
        """
        low, high = self.percentiles
        if self.block_px:
            from cellpose.transforms import normalize99_tile

            planes = np.moveaxis(image.reshape(-1, *image.shape[-2:]), 0, -1).astype(np.float32)
            # norm3D as in Cellpose's eval; there `invert` is ignored with blocks, here it is not.
            grey = np.moveaxis(normalize99_tile(planes, self.block_px, low, high, norm3D=True), -1, 0)
            grey = grey.reshape(image.shape)
        else:
            bottom, top = np.percentile(image, (low, high), axis=(-2, -1), keepdims=True).astype(np.float32)
            grey = (image.astype(np.float32) - bottom) / np.maximum(top - bottom, 1e-6)
        shown: npt.NDArray[np.float32] = (1 - grey if self.invert else grey).astype(np.float32)
        return shown


CELLPOSES = Normalisation()
