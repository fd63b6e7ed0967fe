"""Rows of torchvision: a model each, with its default weights, their accuracy and their file."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from models.zoo.fetch import NAMED_HASH
from models.zoo.table import ZooRow

METRICS = {  # of each task: torchvision's name, ours, unit
    "image-classification": ("acc@1", "top-1 accuracy", "%"),
    "segmentation": ("miou", "mean IoU", "%"),
    "detection": ("box_map", "box mAP", "%"),
    "video-classification": ("acc@1", "top-1 accuracy", "%"),
}
FRAMES = 16  # of an example of a video
DETECTION_SIZE = [1, 3, 320, 320]  # of an example: these models take pictures of any size


def rows() -> list[ZooRow]:
    from torchvision import models
    from torchvision.models import detection, segmentation, video

    source = f"torchvision {metadata.version('torchvision').partition('+')[0]}"
    tasks = {
        "image-classification": models,
        "segmentation": segmentation,
        "detection": detection,
        "video-classification": video,
    }
    found = [
        _row(models, name, task, source) for task, module in tasks.items() for name in models.list_models(module=module)
    ]
    return [row for row in found if NAMED_HASH.search(row.id)]


def _row(models: Any, name: str, task: str, source: str) -> ZooRow:
    weights = models.get_model_weights(name).DEFAULT
    transforms = weights.transforms()
    key, label, unit = METRICS[task]
    data = next((data for data, values in weights.meta["_metrics"].items() if key in values), None)
    metric = data and {
        "name": label,
        "value": weights.meta["_metrics"][data][key],
        "unit": unit,
        "data": data,
        "from": f"{weights} of {source}",
    }
    preprocessing: dict[str, Any] = {}
    if task == "detection":
        preprocessing["inputs"] = [{"name": "image", "dtype": "float32", "shape": DETECTION_SIZE}]
    else:
        resize = transforms.resize_size
        resize = resize[0] if isinstance(resize, (list, tuple)) else resize
        crop = getattr(transforms, "crop_size", None)
        sides = [crop[0], crop[-1]] if isinstance(crop, (list, tuple)) else [crop or resize] * 2
        frames = [FRAMES] if task == "video-classification" else []
        preprocessing = {
            "inputs": [{"name": "image", "dtype": "float32", "shape": [1, 3, *frames, *sides]}],
            "size": sides if crop else None,
            "resize": resize,
            "interpolation": transforms.interpolation.value,
            "mean": list(transforms.mean),
            "std": list(transforms.std),
        }
    categories = weights.meta.get("categories") or []
    if task == "image-classification" and len(categories) == 1000:
        preprocessing["labels"] = "imagenet-1k"
    elif task in ("segmentation", "detection"):
        preprocessing["classes"] = list(categories)
    licence = weights.meta.get("license", "")
    return ZooRow(
        name=f"deepseek/{name}.tv_{weights.name.lower()}",
        task=task,
        source="url",
        id=weights.url,
        parameters=weights.meta["num_params"],
        parameters_from=f"{weights} of {source}",
        licence="cc-by-nc-4.0" if "SWAG" in licence else "bsd-3-clause",
        licence_from=licence or f"that of {source}, which publishes the weights",
        metric=metric or None,
        preprocessing=preprocessing,
        loader="torchvision",
        architecture=name,
        config={"weights": weights.name},
        config_from=f"{source} has it by this name",
    )
