"""Models as artifacts: a zoo, compression that passes gates, and the fastest runtime of this host.

What this names is loaded when it is used: importing the package loads neither torch nor ONNX Runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .artifact import Artifact as Artifact
    from .artifact import ModelManifest as ModelManifest
    from .errors import ModelsError as ModelsError
    from .runtimes.pick import pick as pick
    from .zoo.pretrained.embedding import EmbeddingModel as EmbeddingModel
    from .zoo.pretrained.image_classification import ImageClassificationModel as ImageClassificationModel
    from .zoo.pretrained.language_detection import LanguageDetectionModel as LanguageDetectionModel
    from .zoo.pretrained.segmentation import SegmentationModel as SegmentationModel
    from .zoo.pretrained.text_classification import TextClassificationModel as TextClassificationModel
    from .zoo.pretrained.text_generation import TextGenerationModel as TextGenerationModel

PLACES = {
    "Artifact": "artifact",
    "ModelManifest": "artifact",
    "EmbeddingModel": "zoo.pretrained.embedding",
    "ImageClassificationModel": "zoo.pretrained.image_classification",
    "LanguageDetectionModel": "zoo.pretrained.language_detection",
    "ModelsError": "errors",
    "SegmentationModel": "zoo.pretrained.segmentation",
    "TextClassificationModel": "zoo.pretrained.text_classification",
    "TextGenerationModel": "zoo.pretrained.text_generation",
    "pick": "runtimes.pick",
}  # of each public name
__all__ = list(PLACES)


def __getattr__(name: str) -> object:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(PLACES)}")
    return getattr(import_module(f".{PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PLACES])
