"""A model as a folder: `model.onnx`, `manifest.json` and `golden.npz`, each with its hash; no pickle, no code."""

from ..runtimes.session import TensorSpec as TensorSpec
from .artifact import Artifact as Artifact
from .artifact import ModelFile as ModelFile
from .artifact import ModelManifest as ModelManifest
from .write import write as write
