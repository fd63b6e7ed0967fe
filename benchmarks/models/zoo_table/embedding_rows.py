"""Rows of embedding and classifying models whose config.json was read in stored copies of pages of the hub, on 27 November 2026."""

from __future__ import annotations

from typing import Any

from benchmarks.models.zoo_table.stated_licences import licence_of
from benchmarks.models.zoo_table.transformers_rows import preprocessing
from models.zoo.table import ZooRow

SHARED = {"model_type": "bert", "max_position_embeddings": 512, "type_vocab_size": 2, "vocab_size": 30522}
SMALL = {**SHARED, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12, "num_hidden_layers": 12}
BASE = {**SHARED, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
LARGE = {**SHARED, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24}
READ: dict[str, tuple[dict[str, Any], str]] = {  # by repository: the numbers, and the page that has them
    "BAAI/bge-small-en-v1.5": (SMALL, "huggingface.co/rbojja/ft-intent-bank/blob/main/config.json, made from it"),
    "BAAI/bge-base-en-v1.5": (BASE, "huggingface.co/Xenova/bge-base-en-v1.5 at e2d28ebfab13, a copy of it"),
    "BAAI/bge-large-en-v1.5": (
        LARGE,
        "huggingface.co/Basti8499/bge-large-en-v1.5-ISO-27001/blame/main/config.json, made from it",
    ),
    "intfloat/e5-small-v2": (SMALL, "huggingface.co/nixiesearch/e5-small-v2-onnx/blob/main/config.json, a copy of it"),
    "intfloat/e5-base-v2": (BASE, "huggingface.co/Xenova/e5-base-v2 at 07deff7e484e, a copy of it"),
}


def rows() -> list[ZooRow]:
    return [_row(repository, dict(config), page) for repository, (config, page) in READ.items()]


def _row(repository: str, config: dict[str, Any], page: str) -> ZooRow:
    licence = licence_of(repository)
    return ZooRow(
        name=f"deepseek/{repository.rpartition('/')[2].lower()}",
        task="embeddings",
        source="hub",
        id=repository,
        parameters=None,
        parameters_from="",
        licence=licence.licence,
        licence_from=licence.read_in,
        metric=None,
        preprocessing=preprocessing("embeddings", config),
        loader="transformers",
        architecture="BertModel",
        config=config,
        config_from=page,
    )
