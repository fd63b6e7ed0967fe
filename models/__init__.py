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
    from .zoo.pretrained import EmbeddingModel as EmbeddingModel
    from .zoo.pretrained import ImageClassificationModel as ImageClassificationModel
    from .zoo.pretrained import LanguageDetectionModel as LanguageDetectionModel
    from .zoo.pretrained import SegmentationModel as SegmentationModel
    from .zoo.pretrained import TextClassificationModel as TextClassificationModel
    from .zoo.pretrained import TextGenerationModel as TextGenerationModel

PLACES = {
    "Artifact": "artifact",
    "ModelManifest": "artifact",
    "EmbeddingModel": "zoo.pretrained",
    "ImageClassificationModel": "zoo.pretrained",
    "LanguageDetectionModel": "zoo.pretrained",
    "ModelsError": "errors",
    "SegmentationModel": "zoo.pretrained",
    "TextClassificationModel": "zoo.pretrained",
    "TextGenerationModel": "zoo.pretrained",
    "pick": "runtimes.pick",
}  # of each public name
__all__ = list(PLACES)


def __getattr__(name: str) -> object:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(PLACES)}")
    return getattr(import_module(f".{PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PLACES])
