"""Which series of a run a rule looks at, by their names."""

from __future__ import annotations

import re
from functools import lru_cache

LOSS = re.compile(r"(?i)(?:^|[/._-])(?:loss|nll|perplexity|ppl|cross_?entropy|mse|elbo)(?:$|[/._-])|loss$")
OF_VALIDATION = re.compile(r"(?i)(?:^|[/._-])(?:val|valid|validation|eval|test|dev)(?:$|[/._-])")
GRADIENT = re.compile(r"(?i)grad(?:ient)?s?[/._-]?(?:norm|l2)|(?:^|[/._-])g?norm[/._-]grad|(?:^|/)grads?/")
SCALE = re.compile(r"(?i)(?:^|[/._-])(?:grad|loss|amp)[/._-]?scale(?:r)?$|(?:^|/)scale$")
MEMORY = re.compile(r"(?i)^memory/|(?:^|[/._-])(?:mem|memory|vram)[/._-]?(?:allocated|reserved|used|peak|max)|max_memory")
BETTER_IS_MORE = re.compile(
    r"(?i)(?:acc|accuracy|f1|auc|map|iou|dice|bleu|rouge|reward|return|score|precision|recall|r2|psnr|ssim)"
)
MOST_TRACKED = 200  # series of a run


@lru_cache(maxsize=20_000)
def is_loss(name: str) -> bool:
    return LOSS.search(name) is not None and not is_scale(name)


@lru_cache(maxsize=20_000)
def is_validation(name: str) -> bool:
    return OF_VALIDATION.search(name) is not None


@lru_cache(maxsize=20_000)
def is_gradient(name: str) -> bool:
    """A norm, over all gradients or of a layer."""
    return GRADIENT.search(name) is not None and not is_scale(name)


@lru_cache(maxsize=20_000)
def is_scale(name: str) -> bool:
    """GradScaler's factor."""
    return SCALE.search(name) is not None


@lru_cache(maxsize=20_000)
def is_memory(name: str) -> bool:
    return MEMORY.search(name) is not None


def is_training_loss(name: str) -> bool:
    return is_loss(name) and not is_validation(name)


def is_result(name: str) -> bool:
    """What a validation measures, and is to become better."""
    return is_validation(name) and (is_loss(name) or BETTER_IS_MORE.search(name) is not None)


def is_tracked(name: str) -> bool:
    return is_loss(name) or is_gradient(name) or is_scale(name) or is_memory(name) or is_result(name)
