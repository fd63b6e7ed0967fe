"""Which series of a run a rule looks at, by their names."""

from __future__ import annotations

import re
from functools import lru_cache

from ..directions import direction_of

LOSS = re.compile(r"(?i)(?:^|[/._-])(?:loss|nll|perplexity|ppl|cross_?entropy|mse|elbo)(?:$|[/._-])|loss$")
NO_LOSS = re.compile(
    r"(?i)(?:^|[/._-])(?:time|times|weight|weights|coef|coeff|lr|seconds?|sec|ms|count|steps?)(?:$|[/._-])"
)  # of one
OF_VALIDATION = re.compile(r"(?i)(?:^|[/._-])(?:val|valid|validation|eval|test|dev)(?:$|[/._-])")
GRADIENT = re.compile(r"(?i)grad(?:ient)?s?[/._-]?(?:norm|l2)|(?:^|[/._-])g?norm[/._-]grad|(?:^|/)grads?/")
SCALE = re.compile(r"(?i)(?:^|[/._-])(?:grad|loss|amp|scaler)[/._-]?scale(?:r)?$")
MEMORY = re.compile(
    r"(?i)^memory/|(?:^|[/._-])(?:mem|memory|vram)[/._-]?(?:allocated|reserved|used|peak|max)|max_memory"
)
PAUSE = re.compile(r"(?i)^phase/(?:val|valid|validation|eval|evaluation|test|checkpoint|save|sample|generate)\w*_s$")
MOST_TRACKED = 200  # series of a run


@lru_cache(maxsize=20_000)
def is_loss(name: str) -> bool:
    return LOSS.search(name) is not None and NO_LOSS.search(name) is None and not is_scale(name)


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


@lru_cache(maxsize=20_000)
def is_pause(name: str) -> bool:
    """What a step spent beside the training: RunLog's phases."""
    return PAUSE.search(name) is not None


def is_training_loss(name: str) -> bool:
    return is_loss(name) and not is_validation(name)


def is_result(name: str) -> bool:
    """What a validation measures, and is to become better."""
    return is_validation(name) and NO_LOSS.search(name) is None and direction_of(name) is not None


def is_tracked(name: str) -> bool:
    return is_loss(name) or is_gradient(name) or is_scale(name) or is_memory(name) or is_result(name) or is_pause(name)
