"""The networks of a Mask R-CNN: a small one of our own, or torchvision's on a ResNet-50; and what one begins with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from bridge.errors import ModelError
from bridge.files import sha256
from bridge.segmentation.models import MASK_RCNN, resolve_model

TILE_PX = 256  # at the network's scale
Body = Literal["own", "resnet50_fpn", "resnet50_fpn_v2"]
_MOST, _SCORE = 400, 0.5  # cells of a tile
# What torchvision's ResNet-50 was trained with: https://pytorch.org/vision/stable/models.html
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CONV1 = "backbone.body.conv1.weight"


@dataclass(frozen=True)
class Kind:
    """What a network is made of.

    Attributes
    ----------
    n_channels : int
        Of the images.
    body : {"own", "resnet50_fpn", "resnet50_fpn_v2"}
        Of our own (four levels, a feature pyramid, group normalisation), or torchvision's.
    features : int
        At the first level of our own, a multiple of 8.
    """

    n_channels: int
    body: Body = "own"
    features: int = 32


def kind_of(facts: Mapping[str, Any]) -> Kind:
    """Return what the network of a model file is made of."""
    return Kind(int(facts["n_channels"]), facts.get("body", "own"), int(facts["features"]))


def new_mask_rcnn(kind: Kind, n_classes: int, seed: int = 0) -> Any:
    """Return a Mask R-CNN that has learnt nothing.

    Parameters
    ----------
    kind : Kind
    n_classes : int
        Without the background.
    seed : int
        For its random weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _own(kind, n_classes) if kind.body == "own" else _torchvisions(kind, n_classes)


def _options(mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    # Tiles come in one size and on one grey scale: nothing is resized or normalised behind our back.
    return {
        "min_size": TILE_PX, "max_size": TILE_PX, "image_mean": list(mean), "image_std": list(std),
        "box_detections_per_img": _MOST, "rpn_pre_nms_top_n_test": 2 * _MOST, "rpn_post_nms_top_n_test": 2 * _MOST,
        "rpn_post_nms_top_n_train": 1000, "box_score_thresh": _SCORE, "box_batch_size_per_image": 128,
    }  # fmt: skip


def _own(kind: Kind, n_classes: int) -> Any:
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

    features = kind.features
    widths = [features * k for k in (1, 2, 3, 4)]
    body = _Body(kind.n_channels, widths)
    levels = {f"level{k}": str(k - 1) for k in range(1, 4)}
    backbone = BackboneWithFPN(body, levels, widths[1:], 2 * features)
    sizes = ((16, 24), (32, 44), (64, 88), (128, 176))
    wide = 4 * features
    heads = {
        "box_head": TwoMLPHead(2 * features * 7 * 7, 8 * features),
        "box_predictor": FastRCNNPredictor(8 * features, n_classes + 1),
        "mask_head": MaskRCNNHeads(2 * features, (wide, wide), 1),
        "mask_predictor": MaskRCNNPredictor(wide, wide, n_classes + 1),
    }
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    scale = _options([0.0] * kind.n_channels, [1.0] * kind.n_channels)
    return MaskRCNN(backbone, None, rpn_anchor_generator=anchors, **heads, **scale)


def _torchvisions(kind: Kind, n_classes: int) -> Any:
    from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

    make = maskrcnn_resnet50_fpn if kind.body == "resnet50_fpn" else maskrcnn_resnet50_fpn_v2
    n = kind.n_channels
    grey = [sum(_MEAN) / 3] * n, [sum(_STD) / 3] * n
    scale = _options(*((_MEAN, _STD) if n == 3 else grey))
    net = make(weights=None, weights_backbone=None, num_classes=n_classes + 1, **scale)
    conv = net.backbone.body.conv1
    if n != 3:
        net.backbone.body.conv1 = nn.Conv2d(n, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False)  # fmt: skip
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d) and kind.body == "resnet50_fpn":
            layer.eps = 0.0  # as its weights were trained: torchvision sets the same where it loads them
    return net


class _Body(nn.Sequential):  # type: ignore[misc]
    def __init__(self, n_channels: int, widths: Sequence[int]) -> None:
        parts, before = OrderedDict[str, Any](), n_channels
        for k, width in enumerate(widths):
            layers: list[Any] = [] if k == 0 else [nn.MaxPool2d(2)]
            for i in range(2):
                step = 2 if k == i == 0 else 1
                layers += [nn.Conv2d(before, width, 3, step, 1), nn.GroupNorm(8, width), nn.ReLU(inplace=True)]
                before = width
            parts[f"level{k}"] = nn.Sequential(*layers)
        super().__init__(parts)


@dataclass(frozen=True)
class Base:
    """Weights that a training begins with.

    Attributes
    ----------
    path : Path
    sha256 : str
    body : {"own", "resnet50_fpn", "resnet50_fpn_v2"}
        The only one they fit.
    features : int
    n_channels : int or None
        The only number they fit; None for any.
    weights : dict of str to Tensor
    """

    path: Path
    sha256: str
    body: Body
    features: int
    n_channels: int | None
    weights: dict[str, Any] = field(repr=False)


def read_base(name: str) -> Base:
    """Read the weights that a user names to begin with.

    Parameters
    ----------
    name : str
        A Mask R-CNN of this program, or a file of torchvision's: its Mask R-CNN on a ResNet-50 (of both versions), or
        its ResNet-50 alone, trained to tell photographs.

    Raises
    ------
    ModelError
        Something else.
    """
    path = Path(name)
    content = _torchs(path) if path.is_file() else {}
    if MASK_RCNN not in content and any(key.startswith(("roi_heads.", "layer1.")) for key in content):
        body, weights = _of_torchvision(path, content)
        return Base(path.resolve(), sha256(path), body, Kind.features, None, weights)
    model = resolve_model(name)
    if MASK_RCNN not in content:
        raise ModelError(f"{model.path}: not a Mask R-CNN (expected what train --kind mask-rcnn wrote, or torchvision's Mask R-CNN or ResNet-50). Give such a file with --base, or leave it out.")  # fmt: skip
    kind = kind_of(content[MASK_RCNN])
    return Base(model.path, model.sha256, kind.body, kind.features, kind.n_channels, content["weights"])


def _torchs(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a file of something else raises whatever it likes; `resolve_model` says so
        return {}
    return content if isinstance(content, dict) and all(isinstance(key, str) for key in content) else {}


def _of_torchvision(path: Path, content: dict[str, Any]) -> tuple[Body, dict[str, Any]]:
    alone = not any(key.startswith("roi_heads.") for key in content)
    weights = {f"backbone.body.{key}": value for key, value in content.items()} if alone else content
    last = weights.get("backbone.body.layer3.5.conv3.weight")  # ResNet-50 has six such blocks, of 1024 features
    if last is None or last.shape[0] != 1024 or "backbone.body.layer3.6.conv3.weight" in weights:
        raise ModelError(f"{path}: not a ResNet-50 (expected torchvision's Mask R-CNN or ResNet-50). Give such a file with --base, or leave it out.")  # fmt: skip
    if not alone and "roi_heads.mask_predictor.mask_fcn_logits.weight" not in weights:
        raise ModelError(f"{path}: finds boxes, not masks (expected torchvision's Mask R-CNN or ResNet-50). Give such a file with --base, or leave it out.")  # fmt: skip
    second = alone or any(key.startswith("rpn.head.conv.1.") for key in weights)
    return "resnet50_fpn_v2" if second else "resnet50_fpn", weights


def begin_with(net: Any, base: Base) -> None:
    """Give a network all weights that fit: those of other classes do not, and those of colours are shared out.

    Of one channel the first layer gets the sum of red, green and blue; of other numbers these in turn, as large in all.
    """
    own = net.state_dict()
    known = dict(base.weights)
    wanted = own[_CONV1].shape[1] if _CONV1 in own else 0
    if _CONV1 in known and known[_CONV1].shape[1] == 3 != wanted:
        colours = known[_CONV1]
        turns = torch.arange(wanted) % 3
        known[_CONV1] = colours.sum(1, keepdim=True) if wanted == 1 else colours[:, turns] * (3 / wanted)
    net.load_state_dict({n: known[n] if n in known and known[n].shape == w.shape else w for n, w in own.items()})


def train_mode(net: Any, base: Base | None = None) -> None:
    """Let a network learn; statistics that it was given stay as they are, for a handful of crops has none."""
    net.train()
    for name, layer in net.named_modules():
        if isinstance(layer, nn.BatchNorm2d) and base is not None and f"{name}.running_mean" in base.weights:
            layer.eval()
            layer.requires_grad_(False)
