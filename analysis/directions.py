"""Whether less or more of a value is better, by its name: `val/loss` down, `eval/f1` up, `train/lr` neither."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["down", "up"]

DOWN = frozenset({
    "loss", "losses", "ppl", "perplexity", "wer", "cer", "ter", "err", "error", "errors", "mse", "rmse", "mae", "mape", "nll",
    "ce", "bce", "xent", "fid", "kid", "lpips", "bpb", "bpc", "bpd", "ece", "brier", "regret", "latency", "cost",
    "eer", "hter",
})  # fmt: skip
UP = frozenset({
    "acc", "accuracy", "f1", "auc", "auroc", "auprc", "ap", "map", "miou", "iou", "dice", "bleu", "sacrebleu", "chrf", "rouge",
    "meteor", "cider", "reward", "rewards", "return", "returns", "psnr", "ssim", "precision", "recall", "r2", "score",
    "success", "elo", "mcc", "kappa", "ndcg", "mrr", "hits", "em", "top1", "top5", "mfu", "rouge1", "rouge2", "rougel",
    "winrate",
})  # fmt: skip
PAIRS: dict[tuple[str, ...], Direction] = {
    ("exact", "match"): "up",
    ("win", "rate"): "up",
    ("error", "rate"): "down",
    ("cross", "entropy"): "down",
    ("success", "rate"): "up",
    ("pass", "at"): "up",
}
WEAK = "score"  # what stands before it says more
HELD_OUT = frozenset({"val", "valid", "validation", "eval", "evaluation", "test", "dev", "holdout"})

_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")


@lru_cache(65536)
def words(name: str) -> tuple[str, ...]:
    """`"eval/topK_Acc" -> ("eval", "top", "k", "acc")`"""
    return tuple(word.lower() for word in _WORD.findall(name[:500]))


def direction_of(name: str, chosen: Mapping[str, Direction] | None = None) -> Direction | None:
    """By the last word that says it; what a user chose for this name comes first."""
    if chosen and name in chosen:
        return chosen[name]
    found = words(name)
    if found and found[-1] == WEAK and (before := direction_of(name.rpartition(name[-len(WEAK) :])[0])):
        return before  # `fid_score`
    for at in range(len(found) - 1, -1, -1):
        pair = PAIRS.get(found[at : at + 2])
        if pair:
            return pair
        if found[at] in DOWN or found[at] in UP:
            return "down" if found[at] in DOWN else "up"
    return None


def is_held_out(name: str) -> bool:
    """Whether it is of data that is not trained on."""
    return not HELD_OUT.isdisjoint(words(name))
