"""Rows of language models whose configurations LitGPT states, in transformers' words."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

from benchmarks.models.zoo_table.stated_licences import licence_of
from benchmarks.models.zoo_table.transformers_rows import preprocessing
from benchmarks.models.zoo_table.wheels import texts
from models.zoo.table import ZooRow

REQUIREMENT = "litgpt==0.5.13"
# Repositories whose architecture is one of those below, and whose output weights are known to be, or not to be, those of the input.
WANTED = re.compile(
    r"EleutherAI/pythia-.*|TinyLlama/.*|openlm-research/.*|meta-llama/(Llama-2-(7b|13b)(-chat)?-hf|Meta-Llama-3-8B(-Instruct)?)|"
    r"codellama/CodeLlama-7b(-Python|-Instruct)?-hf|lmsys/vicuna-7b-v1.5|mistralai/Mistral-7B-(v0.1|Instruct-v0.2)|microsoft/phi-(1_5|2)|"
    r"Qwen/Qwen2.5-0.5B(-Instruct)?|HuggingFaceTB/SmolLM2-(135M|360M)(-Instruct)?"
)
# As config.json of copies of these repositories says at the hub: huggingface.co/unsloth/SmolLM2-360M, huggingface.co/osllmai-community/Qwen2.5-0.5B
TIED = ("Qwen/Qwen2.5-0.5B", "HuggingFaceTB/SmolLM2-")


def rows() -> list[ZooRow]:
    module = _module()
    found = []
    for entry in module.configs:
        repository = f"{entry['hf_config']['org']}/{entry['hf_config']['name']}"
        if WANTED.fullmatch(repository):
            found.append(_row(repository, module.Config(**entry)))
    return found


def _module() -> ModuleType:
    """What `litgpt/config.py` defines: it imports nothing of the package."""
    module = ModuleType("litgpt_config")
    sys.modules[module.__name__] = module  # dataclasses look there
    exec(compile(texts(REQUIREMENT)["litgpt/config.py"], "litgpt/config.py", "exec"), vars(module))
    return module


def _row(repository: str, theirs: Any) -> ZooRow:
    architecture, config = _converted(repository, theirs)
    licence = licence_of(repository)
    return ZooRow(
        name=f"deepseek/{repository.rpartition('/')[2].lower()}",
        task="text-generation",
        source="hub",
        id=repository,
        parameters=None,
        parameters_from="",
        licence=licence.licence,
        licence_from=licence.read_in,
        metric=None,
        preprocessing=preprocessing("text-generation", config),
        loader="transformers",
        architecture=architecture,
        config=config,
        config_from=f"litgpt/config.py of {REQUIREMENT.replace('==', ' ')}",
    )


def _converted(repository: str, theirs: Any) -> tuple[str, dict[str, Any]]:
    config: dict[str, Any] = {
        "vocab_size": theirs.padded_vocab_size,
        "hidden_size": theirs.n_embd,
        "num_hidden_layers": theirs.n_layer,
        "num_attention_heads": theirs.n_head,
        "intermediate_size": theirs.intermediate_size,
        "max_position_embeddings": theirs.block_size,
        "tie_word_embeddings": repository.startswith(TIED),
    }
    if theirs.mlp_class_name == "GptNeoxMLP" and "phi" in repository:
        return "PhiForCausalLM", {"model_type": "phi", **config, "partial_rotary_factor": theirs.rotary_percentage}
    if theirs.mlp_class_name == "GptNeoxMLP":
        return "GPTNeoXForCausalLM", {
            "model_type": "gpt_neox",
            **config,
            "use_parallel_residual": theirs.parallel_residual,
        }
    config |= {"num_key_value_heads": theirs.n_query_groups, "rms_norm_eps": theirs.norm_eps}
    if theirs.attn_bias:
        return "Qwen2ForCausalLM", {"model_type": "qwen2", **config}
    if "mistral" in repository.lower():
        return "MistralForCausalLM", {"model_type": "mistral", **config}
    return "LlamaForCausalLM", {"model_type": "llama", **config}
