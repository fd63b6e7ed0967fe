"""Small models with random weights, as files of a repository."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from models.zoo.loaders import torchvision_models
from models.zoo.table import ZooRow


def gpt2(pickled: bool = False) -> dict[str, bytes]:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config)
    files = _files(model)
    if pickled:
        del files["model.safetensors"]
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        files["pytorch_model.bin"] = buffer.getvalue()
    return files


def classifier() -> dict[str, bytes]:
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(
        vocab_size=300,
        dim=32,
        n_layers=1,
        n_heads=2,
        hidden_dim=64,
        id2label={0: "good", 1: "bad"},
        label2id={"good": 0, "bad": 1},
    )
    return _files(transformers.DistilBertForSequenceClassification(config))


def encoder() -> dict[str, bytes]:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    return _files(transformers.BertModel(config))


def evil(marker: Path) -> bytes:
    """A file that runs a program when it is unpickled."""

    class Touch:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (marker,)  # type: ignore[return-value]

    buffer = io.BytesIO()
    torch.save({"a": Touch()}, buffer, pickle_module=pickle)
    return buffer.getvalue()


def torchvision_weights(row: ZooRow) -> bytes:
    torch.manual_seed(0)
    buffer = io.BytesIO()
    torch.save(torchvision_models.made(row, None).state_dict(), buffer)
    return buffer.getvalue()


def named_by_hash(name: str, content: bytes) -> str:
    return f"{name}-{hashlib.sha256(content).hexdigest()[:8]}.pth"


def _files(model: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return {**files, **_tokenizer()}


def _tokenizer() -> dict[str, bytes]:
    """Of bytes: any text has tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<end>", "[PAD]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["a"], trainer)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<end>",
        "pad_token": "[PAD]",
        "model_max_length": 64,
    }
    return {"tokenizer.json": tokenizer.to_str().encode(), "tokenizer_config.json": json.dumps(settings).encode()}
