"""A network of Cellpose 3 in another form says what Cellpose's own says, whatever its weights are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cellpose.resnet_torch import CPnet
from torch import nn

from bridge.segmentation.exact_first_layer import leading_part, with_exact_first_layer
from bridge.segmentation.folded_upsampling import folded


@pytest.fixture(scope="module", params=[8, 32])
def net(request: pytest.FixtureRequest) -> Any:
    """A network with weights and norms drawn at random, as after a training."""
    torch.manual_seed(5)
    made = CPnet([2, *(request.param * 2**k for k in range(4))], 3, sz=3).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in ((module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 2), (module.weight.data, 0.5, 1.5)):  # fmt: skip
                nn.init.uniform_(values, low, high)
            nn.init.uniform_(module.bias.data, -0.3, 0.3)
    return made


@pytest.mark.parametrize("shape", [(2, 2, 224, 224), (1, 2, 48, 80)])
def test_folded(net: Any, shape: tuple[int, ...]) -> None:
    tiles = torch.rand(shape)
    with torch.no_grad():
        expected, style, _ = net(tiles)
        found, same_style, _ = folded(net)(tiles)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5 * float(expected.abs().max()))
    assert torch.equal(style, same_style)
    assert float(expected.std()) > 0.1


def test_the_network_itself_stays_as_it_was(net: Any) -> None:
    """A training goes on with it."""
    names, up = [name for name, _ in net.named_parameters()], net.upsample
    changed = with_exact_first_layer(folded(net))[0]
    assert [name for name, _ in net.named_parameters()] == names
    assert net.upsample is up
    assert net.nchan == 2
    assert changed.downsample.down[1] is net.downsample.down[1]
    assert changed.upsample.up[0] is up.up[0]


def test_an_image_in_parts(net: Any) -> None:
    tiles = torch.rand(1, 2, 64, 96) * 3 - 1
    changed, first = with_exact_first_layer(net)
    parts = torch.from_numpy(first.parts(tiles.numpy()))
    assert parts.shape == (1, changed.nchan, 64, 96)
    with torch.no_grad():
        seen = torch.relu(net.downsample.down[0].conv[0][0](tiles))
        leading, remainder = parts[:, :2], parts[:, 2:4]
        assert torch.equal(leading, leading.bfloat16().float())
        torch.testing.assert_close(leading + remainder, seen, rtol=1e-6, atol=1e-6)
        expected, found = net(tiles)[0], changed(parts)[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_leading_part_is_what_bfloat16_holds() -> None:
    torch.manual_seed(2)
    ties = torch.tensor([1.00390625, 1.01171875, -1.00390625, 0.0, -0.0, 3.3e38])  # halfway between two
    values = torch.cat([ties, torch.randn(10_000) * 10 ** torch.randint(-30, 30, (10_000,))])
    assert torch.equal(torch.from_numpy(leading_part(values.numpy())), values.bfloat16().float())


def test_rounding_to_bfloat16_moves_the_output_less(net: Any) -> None:
    """Where the first layer is given the image as it is, its rounding counts most."""
    torch.manual_seed(1)
    tiles = torch.rand(1, 2, 64, 64)
    first = with_exact_first_layer(net)[1]
    parts = torch.from_numpy(first.parts(tiles.numpy()))
    (norm, _, convolution), (next_norm, *_) = net.downsample.down[0].conv[:2]

    def rounded(image: Any, convolution: Any) -> Any:
        return nn.functional.conv2d(_bfloat16(image), _bfloat16(convolution.weight), convolution.bias, padding=1)

    with torch.no_grad():
        seen = torch.relu(norm(tiles))
        exact = next_norm(convolution(seen))
        as_it_is, in_parts = next_norm(rounded(seen, convolution)), rounded(parts, first.first)
    torch.testing.assert_close(first.first(parts), exact, rtol=1e-4, atol=1e-5)
    assert float((as_it_is - exact).abs().max()) > 50 * float((in_parts - exact).abs().max())


def _bfloat16(values: Any) -> Any:
    return values.bfloat16().float()
