"""The U-Net of Cellpose 3 in fewer multiplications: what it enlarges first and convolves then is one step here."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class FoldedUpsampling(nn.Module):  # type: ignore[misc]
    """Stands where a network of Cellpose 3 has its way up (`cellpose.resnet_torch.upsample`).

    Each level there doubles the image, every pixel four times, and convolves it with 3 x 3 weights, which multiplies each
    value by neighbouring weights more than once. Adding these weights first gives a transposed convolution of 4 x 4 with a
    stride of 2, the same sums in 4/9 of the multiplications; a convolution of 1 x 1 is the same before the image is
    doubled. Of all multiplications of the network a ninth is gone.

    Parameters
    ----------
    upsample : torch module
        Of the network; its modules are shared, not copied.
    """

    def __init__(self, upsample: Any) -> None:
        super().__init__()
        self.up, self.upsampling = upsample.up, upsample.upsampling
        self.doubling = nn.ModuleList(doubling(level.conv[0][2]) for level in list(upsample.up)[:-1])

    def forward(self, style: Any, down: Any, mkldnn: bool = False) -> Any:  # noqa: ARG002
        """Return the features (B, C, Y, X) from which the output is made."""
        found = self.up[-1](down[-1], down[-1], style)
        for k in reversed(range(len(self.doubling))):
            level = self.up[k]
            norm, relu, _ = level.conv[0]
            doubled = self.doubling[k](relu(norm(found)))
            found = self.upsampling(level.proj(found)) + level.conv[1](style, doubled, y=down[k])
            found = found + level.conv[3](style, level.conv[2](style, found))
        return found


def doubling(convolution: Any) -> Any:
    """Return one step that doubles an image (each pixel four times) and convolves it.

    Parameters
    ----------
    convolution : torch.nn.Conv2d
        Of 3 x 3, with a border of one empty pixel.

    Returns
    -------
    torch.nn.ConvTranspose2d

    Examples
    --------
    >>> convolution, image = nn.Conv2d(2, 3, 3, padding=1), torch.rand(1, 2, 5, 4)
    >>> enlarged = nn.functional.interpolate(image, scale_factor=2, mode="nearest")
    >>> bool(torch.allclose(doubling(convolution)(image), convolution(enlarged), atol=1e-5))
    True
    """
    given = convolution.weight.detach().double()
    weights = torch.zeros(*given.shape[:2], 4, 4, dtype=torch.float64)
    for right in (0, 1):  # of the two copies of a pixel along x
        for below in (0, 1):
            weights[:, :, below : below + 3, right : right + 3] += given.flip(2, 3)
    step = nn.ConvTranspose2d(*reversed(given.shape[:2]), 4, stride=2, padding=1)
    step.weight.data = weights.transpose(0, 1).to(convolution.weight.dtype).contiguous()
    step.bias.data = convolution.bias.detach().clone()
    return step


def folded(net: Any) -> Any:
    """Return a network of Cellpose 3 with its way up folded; it shares all other modules with the one given."""
    changed = copy.copy(net)
    changed._modules = {**net._modules, "upsample": FoldedUpsampling(net.upsample).eval()}
    return changed
