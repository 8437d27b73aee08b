"""Two cell types grown together, the whole way: pure images, fine-tuned Cellpose, features and Mask R-CNN, mixed images scored.

    uv run --extra mask-rcnn python scripts/two_types.py OUT [--epochs 130] [--hard]

Everything is made (`bridge.synthetic.two_types`): 16 images of one type each to learn from, 8 mixed ones to be told apart.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import tifffile
from cyclopts import App
from rich.console import Console

import bridge
from bridge.evaluation.coco_scores import evaluate_coco
from bridge.images.label_images import write_labels
from bridge.synthetic import two_types
from bridge.training.mask_rcnn import train_mask_rcnn
from bridge.training_settings import TrainSettings

app = App(help=__doc__)
console = Console()
TYPES = ("HEK", "N2a")
PURE, MIXED = 16, 8


def make(out: Path, hard: bool) -> None:
    """Images, true label images, and the class of each true cell."""
    for k in range(PURE + MIXED):
        share = float(k % 2) if k < PURE else 0.5
        condition = TYPES[k % 2] if k < PURE else "mixed"
        field = two_types(900 + k, share, size_px=256, n_cells=18, hard=hard)
        place = out / "images" / condition
        place.mkdir(parents=True, exist_ok=True)
        for channel, pixels in (("green", field.cytoplasm), ("DAPI", field.nucleus)):
            tifffile.imwrite(place / f"f{k}_{channel}.tif", pixels, imagej=True)
        name = f"{condition}_f{k}"
        write_labels(out / "truth" / f"{name}_mask.tif", field.cells)
        if k < PURE:
            write_labels(out / "pairs" / f"{name}_mask.tif", field.cells)
            tifffile.imwrite(out / "pairs" / f"{name}.tif", field.cytoplasm, imagej=True)
        table = pd.DataFrame({"label": range(1, len(field.kind)), "class": [TYPES[n] for n in field.kind[1:]]})
        (out / "types").mkdir(exist_ok=True)
        table.to_csv(out / "types" / f"{name}_classes.csv", index=False)
    (out / "types.csv").write_text("condition,class\n" + "".join(f"{t},{t}\n" for t in TYPES))


def coco_of(masks: Path, classes: Path, out: Path, mixed: bool) -> Path:
    """A COCO json of the pure or of the mixed images."""
    content = json.loads(bridge.export_coco(masks, out.with_suffix(".all.json"), classes=classes).read_text())
    kept = {i["id"] for i in content["images"] if ("mixed" in i["file_name"]) == mixed}
    content["images"] = [i for i in content["images"] if i["id"] in kept]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    for i in content["images"]:
        i["file_name"] = Path(i["file_name"]).name
    out.write_text(json.dumps(content))
    return out


def found_by(out: Path, name: str, model: str, truth: Path | None, **more: Any) -> Path:
    """Run a model over all images, give its cells a class, and write them as COCO."""
    bridge.run(out / "images", out / name, model=model, segment="green", measure=["DAPI"], count="none", engine="native", positive=["none"], **more)  # fmt: skip
    if truth is not None:
        bridge.classify(out / name, truth, channels=["green", "DAPI"])
    return coco_of(out / name / "masks", out / name / "classes", out / f"{name}.json", mixed=True)


@app.default
def main(out: Path, epochs: int = 130, tune_epochs: int = 20, hard: bool = False) -> None:
    make(out, hard)
    truth = coco_of(out / "truth", out / "types", out / "true_mixed.json", mixed=True)
    scores = {}
    begin = time.monotonic()
    tuned = bridge.train(out / "pairs", out / "tuned", base="cyto_0", epochs=tune_epochs, device="cpu")
    tuned_s = time.monotonic() - begin
    for name, model in (("cyto_0", "cyto_0"), ("fine-tuned", str(tuned.model))):
        begin = time.monotonic()
        found = found_by(out, name.replace("-", "_"), model, out / "types.csv", **({"diameter": 37.0} if name == "cyto_0" else {}))  # fmt: skip
        scores[f"{name} and features"] = (evaluate_coco(truth, found, out / f"scores_{name}"), time.monotonic() - begin)
    begin = time.monotonic()
    settings = TrainSettings(kind="mask-rcnn", images=out / "pairs", held_out=("none",), epochs=epochs, features=16, device="cpu")  # fmt: skip
    pure = coco_of(out / "truth", out / "types", out / "true_pure.json", mixed=False)
    network = train_mask_rcnn(pure, out / "mask_rcnn", settings, console.print).model
    scores["Mask R-CNN"] = (evaluate_coco(truth, found_by(out, "by_mask_rcnn", str(network), None), out / "scores_mask_rcnn"), time.monotonic() - begin)  # fmt: skip
    console.print(f"fine-tuning Cellpose took {tuned_s:.0f} s")
    for name, (table, took) in scores.items():
        every = table.set_index("class").loc["all"]
        console.print(f"{name}: AP {every['ap']:.3f}, at 0.5 {every['ap_50']:.3f}, at 0.75 {every['ap_75']:.3f}; {took:.0f} s")  # fmt: skip


if __name__ == "__main__":
    app()
