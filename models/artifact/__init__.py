"""A model as a folder: `model.onnx`, `manifest.json` and `golden.npz`, each with its hash; no pickle, no code."""

from .artifact import Artifact as Artifact
from .manifest import ModelFile as ModelFile
from .manifest import ModelManifest as ModelManifest
from .manifest import TensorSpec as TensorSpec
from .writing import write as write
