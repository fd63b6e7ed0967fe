"""Rows of models whose configurations KerasNLP stated until 0.6, in transformers' words."""

from __future__ import annotations

from typing import Any

from benchmarks.models.zoo_table.stated_licences import licence_of
from benchmarks.models.zoo_table.transformers_rows import preprocessing
from benchmarks.models.zoo_table.wheels import assigned, texts
from models.zoo.table import ZooRow

REQUIREMENT = "keras-nlp==0.6.4"
CHECKPOINTS = {  # of the hub, by KerasNLP's preset: both were made from the same weights
    "gpt2_base_en": "openai-community/gpt2",
    "gpt2_medium_en": "openai-community/gpt2-medium",
    "gpt2_large_en": "openai-community/gpt2-large",
    "gpt2_extra_large_en": "openai-community/gpt2-xl",
    "bert_tiny_en_uncased": "google/bert_uncased_L-2_H-128_A-2",
    "bert_small_en_uncased": "google/bert_uncased_L-4_H-512_A-8",
    "bert_medium_en_uncased": "google/bert_uncased_L-8_H-512_A-8",
    "bert_base_en_uncased": "google-bert/bert-base-uncased",
    "bert_base_en": "google-bert/bert-base-cased",
    "bert_base_zh": "google-bert/bert-base-chinese",
    "bert_base_multi": "google-bert/bert-base-multilingual-cased",
    "bert_large_en_uncased": "google-bert/bert-large-uncased",
    "bert_large_en": "google-bert/bert-large-cased",
    "distil_bert_base_en_uncased": "distilbert/distilbert-base-uncased",
    "distil_bert_base_en": "distilbert/distilbert-base-cased",
    "distil_bert_base_multi": "distilbert/distilbert-base-multilingual-cased",
    "roberta_base_en": "FacebookAI/roberta-base",
    "roberta_large_en": "FacebookAI/roberta-large",
    "xlm_roberta_base_multi": "FacebookAI/xlm-roberta-base",
    "xlm_roberta_large_multi": "FacebookAI/xlm-roberta-large",
    "albert_base_en_uncased": "albert/albert-base-v2",
    "albert_large_en_uncased": "albert/albert-large-v2",
    "albert_extra_large_en_uncased": "albert/albert-xlarge-v2",
    "bart_base_en": "facebook/bart-base",
    "bart_large_en": "facebook/bart-large",
}
SENTIMENT = (
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english"  # what transformers' pipelines classify texts with
)
SENTIMENT_OF = "distil_bert_base_en_uncased"
ROBERTA_OFFSET = 2  # positions begin behind the padding's: transformers counts those, too


def rows() -> list[ZooRow]:
    presets = _presets()
    return [*(_row(name, presets[name]) for name in CHECKPOINTS if name in presets), _sentiment(presets[SENTIMENT_OF])]


def _presets() -> dict[str, Any]:
    """By name: config, and metadata with the number of parameters."""
    found: dict[str, Any] = {}
    for path, text in texts(REQUIREMENT).items():
        if path.endswith("_presets.py"):
            try:
                found |= assigned(text, "backbone_presets")
            except (KeyError, ValueError):
                continue
    return found


def _row(name: str, preset: dict[str, Any]) -> ZooRow:
    family = next(kind for kind in CONVERTED if name.startswith(kind))
    architecture, task, config = CONVERTED[family](preset["config"])
    repository = CHECKPOINTS[name]
    licence = licence_of(repository)
    return ZooRow(
        name=f"deepseek/{repository.rpartition('/')[2].lower()}",
        task=task,
        source="hub",
        id=repository,
        parameters=None,
        parameters_from="",
        licence=licence.licence,
        licence_from=licence.read_in,
        metric=None,
        preprocessing=preprocessing(task, config),
        loader="transformers",
        architecture=architecture,
        config=config,
        config_from=f"preset {name} of {REQUIREMENT.replace('==', ' ')}",
    )


def _sentiment(preset: dict[str, Any]) -> ZooRow:
    row = _row(SENTIMENT_OF, preset)
    return row._replace(
        name=f"deepseek/{SENTIMENT.rpartition('/')[2]}",
        task="text-classification",
        id=SENTIMENT,
        architecture="DistilBertForSequenceClassification",
        config_from=f"{row.config_from}, with two classes as transformers has by default",
    )


def _encoder(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "vocab_size": config["vocabulary_size"],
        "hidden_size": config["hidden_dim"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": config["num_heads"],
        "intermediate_size": config["intermediate_dim"],
        "max_position_embeddings": config["max_sequence_length"],
    }


def _bert(config: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return (
        "BertForMaskedLM",
        "fill-mask",
        {"model_type": "bert", **_encoder(config), "type_vocab_size": config.get("num_segments", 2)},
    )


def _albert(config: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    made = {
        "model_type": "albert",
        **_encoder(config),
        "embedding_size": config["embedding_dim"],
        "num_hidden_groups": config["num_groups"],
        "inner_group_num": config["num_inner_repetitions"],
    }
    return "AlbertForMaskedLM", "fill-mask", made


def _distil_bert(config: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    made = {
        "model_type": "distilbert",
        "vocab_size": config["vocabulary_size"],
        "dim": config["hidden_dim"],
        "n_layers": config["num_layers"],
        "n_heads": config["num_heads"],
        "hidden_dim": config["intermediate_dim"],
        "max_position_embeddings": config["max_sequence_length"],
    }
    return "DistilBertForMaskedLM", "fill-mask", made


def _roberta(config: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    made = {"model_type": "roberta", **_encoder(config), "type_vocab_size": 1}
    return (
        "RobertaForMaskedLM",
        "fill-mask",
        {**made, "max_position_embeddings": config["max_sequence_length"] + ROBERTA_OFFSET},
    )


def _xlm_roberta(config: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return "XLMRobertaForMaskedLM", "fill-mask", {**_roberta(config)[2], "model_type": "xlm-roberta"}


def _gpt2(config: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    made = {
        "model_type": "gpt2",
        "vocab_size": config["vocabulary_size"],
        "n_embd": config["hidden_dim"],
        "n_layer": config["num_layers"],
        "n_head": config["num_heads"],
        "n_inner": config["intermediate_dim"],
        "n_positions": config["max_sequence_length"],
    }
    return "GPT2LMHeadModel", "text-generation", made


def _bart(config: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    made = {
        "model_type": "bart",
        "vocab_size": config["vocabulary_size"],
        "d_model": config["hidden_dim"],
        "encoder_layers": config["num_layers"],
        "decoder_layers": config["num_layers"],
        "encoder_attention_heads": config["num_heads"],
        "decoder_attention_heads": config["num_heads"],
        "encoder_ffn_dim": config["intermediate_dim"],
        "decoder_ffn_dim": config["intermediate_dim"],
        "max_position_embeddings": config["max_sequence_length"],
        "is_encoder_decoder": True,
    }
    return "BartForConditionalGeneration", "text-to-text", made


CONVERTED = {  # by the beginning of a preset's name
    "albert": _albert,
    "bart": _bart,
    "bert": _bert,
    "distil_bert": _distil_bert,
    "gpt2": _gpt2,
    "roberta": _roberta,
    "xlm_roberta": _xlm_roberta,
}
