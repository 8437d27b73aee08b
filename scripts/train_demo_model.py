"""Train the `demo` network on synthetic fields only and write `bridge/segmentation/demo_model`.

    uv run python scripts/train_demo_model.py [--epochs 105] [--out FILE]

About six minutes on two CPU cores. The network knows nothing but our own synthetic cells, so its weights carry
nobody else's licence; it is for the demo and the tests, never for real images.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from cellpose import dynamics, train
from cellpose.resnet_torch import CPnet

from bridge.synthetic import synthetic_field

WIDTHS = [2, 8, 16, 32, 64]
CELL_DIAMETER_PX = 37.0
FIRST_SEED = 100_000  # the demo's own fields have small seeds


def training_images(n: int) -> tuple[list[npt.NDArray[np.float32]], list[npt.NDArray[np.int32]]]:
    """Return n images (2, Y, X) and their label images; every fourth shows nuclei, the others phase contrast."""
    images, labels = [], []
    for i in range(n):
        field = synthetic_field(FIRST_SEED + i, size_px=320, n_cells=int(12 + i % 14))
        nuclei = i % 4 == 3
        image = field.topro if nuclei else field.phase
        images.append(np.stack([image, np.zeros_like(image)]).astype(np.float32))
        labels.append((field.nuclei if nuclei else field.cells).astype(np.int32))
    return images, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=105)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "bridge/segmentation/demo_model")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(0)
    started = time.perf_counter()
    images, labels = training_images(options.images)
    flows = dynamics.labels_to_flows([label.copy() for label in labels], device=torch.device("cpu"))
    net = CPnet(WIDTHS, 3, sz=3, diam_mean=30.0)
    with tempfile.TemporaryDirectory() as folder:
        train.train_seg(
            net,
            train_data=images,
            train_labels=flows,
            channels=[1, 2],
            channel_axis=0,
            normalize=True,
            SGD=True,
            learning_rate=0.1,
            weight_decay=1e-4,
            n_epochs=options.epochs,
            nimg_per_epoch=16,
            save_path=folder,
            model_name="demo_model",
        )
    net.diam_labels.data = torch.Tensor([CELL_DIAMETER_PX])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    net.save_model(str(options.out))
    print(f"{options.out.name}: {options.out.stat().st_size / 1e6:.2f} MB in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
