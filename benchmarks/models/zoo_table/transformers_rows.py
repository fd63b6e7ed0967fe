"""Rows of transformers: the checkpoint that each configuration class names, with the numbers of its defaults."""

from __future__ import annotations

import inspect
import re
from importlib import import_module, metadata
from typing import Any

from benchmarks.models.zoo_table.stated_licences import licence_of
from models.zoo.table import ZooRow

CHECKPOINT = re.compile(r'auto_docstring\(checkpoint="([^"]+)"\)')
LONGEST_EXAMPLE = 16  # tokens
MODELS = (  # type of configuration, class of the model, task
    ("albert", "AlbertForMaskedLM", "fill-mask"),
    ("bert", "BertForMaskedLM", "fill-mask"),
    ("camembert", "CamembertForMaskedLM", "fill-mask"),
    ("deberta", "DebertaForMaskedLM", "fill-mask"),
    ("fnet", "FNetForMaskedLM", "fill-mask"),
    ("mobilebert", "MobileBertForMaskedLM", "fill-mask"),
    ("modernbert", "ModernBertForMaskedLM", "fill-mask"),
    ("mpnet", "MPNetForMaskedLM", "fill-mask"),
    ("squeezebert", "SqueezeBertForMaskedLM", "fill-mask"),
    ("electra", "ElectraForPreTraining", "fill-mask"),
    ("gpt2", "GPT2LMHeadModel", "text-generation"),
    ("openai-gpt", "OpenAIGPTLMHeadModel", "text-generation"),
    ("gpt_neo", "GPTNeoForCausalLM", "text-generation"),
    ("gptj", "GPTJForCausalLM", "text-generation"),
    ("gpt_neox", "GPTNeoXForCausalLM", "text-generation"),
    ("ctrl", "CTRLLMHeadModel", "text-generation"),
    ("xglm", "XGLMForCausalLM", "text-generation"),
    ("biogpt", "BioGptForCausalLM", "text-generation"),
    ("smollm3", "SmolLM3ForCausalLM", "text-generation"),
    ("t5", "T5ForConditionalGeneration", "text-to-text"),
    ("mt5", "MT5ForConditionalGeneration", "text-to-text"),
    ("bart", "BartForConditionalGeneration", "text-to-text"),
    ("pegasus", "PegasusForConditionalGeneration", "text-to-text"),
    ("marian", "MarianMTModel", "text-to-text"),
    ("m2m_100", "M2M100ForConditionalGeneration", "text-to-text"),
    ("whisper", "WhisperForConditionalGeneration", "speech-recognition"),
    ("wav2vec2", "Wav2Vec2ForCTC", "speech-recognition"),
    ("speech_to_text", "Speech2TextForConditionalGeneration", "speech-recognition"),
    ("moonshine", "MoonshineForConditionalGeneration", "speech-recognition"),
    ("hubert", "HubertModel", "speech-embeddings"),
    ("wavlm", "WavLMModel", "speech-embeddings"),
    ("dpr", "DPRContextEncoder", "embeddings"),
    ("nomic_bert", "NomicBertModel", "embeddings"),
    ("clip", "CLIPModel", "image-embeddings"),
    ("siglip", "SiglipModel", "image-embeddings"),
    ("dinov2", "Dinov2Model", "image-embeddings"),
    ("clipseg", "CLIPSegForImageSegmentation", "segmentation"),
    ("layoutlm", "LayoutLMForMaskedLM", "document-understanding"),
    ("pp_ocrv5_mobile_det", "PPOCRV5MobileDetForObjectDetection", "ocr"),
    ("pp_ocrv5_mobile_rec", "PPOCRV5MobileRecForTextRecognition", "ocr"),
    ("pp_ocrv5_server_rec", "PPOCRV5ServerRecForTextRecognition", "ocr"),
    ("pp_ocrv6_small_det", "PPOCRV6SmallDetForObjectDetection", "ocr"),
    ("pp_ocrv6_small_rec", "PPOCRV6SmallRecForTextRecognition", "ocr"),
    ("pp_ocrv6_tiny_rec", "PPOCRV6TinyRecForTextRecognition", "ocr"),
)


def rows() -> list[ZooRow]:
    return [_row(*model) for model in MODELS]


def _row(kind: str, architecture: str, task: str) -> ZooRow:
    import transformers

    source = f"transformers {metadata.version('transformers')}"
    settings = transformers.CONFIG_MAPPING[kind]()
    text = inspect.getsource(import_module(type(settings).__module__))
    checkpoint = CHECKPOINT.findall(text)[-1]
    licence = licence_of(checkpoint)
    return ZooRow(
        name=f"deepseek/{checkpoint.rpartition('/')[2].lower().removesuffix('_safetensors')}",
        task=task,
        source="hub",
        id=checkpoint,
        parameters=None,
        parameters_from="",
        licence=licence.licence,
        licence_from=licence.read_in,
        metric=None,
        preprocessing=preprocessing(task, settings.to_dict()),
        loader="transformers",
        architecture=architecture,
        config={"model_type": kind, **numbers(settings.to_dict())},
        config_from=f"defaults of {type(settings).__name__} of {source}, which calls them similar to this checkpoint",
    )


def numbers(settings: dict[str, Any]) -> dict[str, Any]:
    """What is not a default of the library's base class: numbers, words and tables of them."""
    left_out = {
        "model_type",
        "transformers_version",
        "architectures",
        "id2label",
        "label2id",
        "dtype",
        "torch_dtype",
        "_name_or_path",
    }
    return {
        name: value
        for name, value in settings.items()
        if name not in left_out
        and value is not None
        and not name.startswith("_")
        and not (isinstance(value, dict) and not value)
    }


def preprocessing(task: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What the tokenizer or feature extractor at the hub says is fetched with it; here are the shapes of an example."""
    if task.startswith("speech") or "image" in task or task in ("segmentation", "document-understanding", "ocr"):
        return {"processor": "of its repository", "inputs": []}
    below = settings.get("vocab_size") or 1
    inputs = [{"name": "input_ids", "dtype": "int64", "shape": [1, LONGEST_EXAMPLE], "below": below}]
    if settings.get("is_encoder_decoder"):
        inputs.append({**inputs[0], "name": "decoder_input_ids"})
    longest = settings.get("max_position_embeddings") or settings.get("n_positions")
    return {"tokenizer": "of its repository", "inputs": inputs, **({"longest": longest} if longest else {})}
