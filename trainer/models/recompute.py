"""Activation checkpointing: keep only a block's inputs, and recompute the rest in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recompute(model: nn.Module) -> None:
    """In all blocks that the model's class names as `recomputed`; the model's results and parameter names stay the same."""
    for block in model.modules():
        if isinstance(block, model.recomputed):
            block.forward = partial(_forward, block, block.forward)


def _forward(block: nn.Module, forward: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    if torch.compiler.is_compiling():  # takes no contexts, and needs none: what a graph changes, it changes once
        return checkpoint(forward, *inputs, use_reentrant=False)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For the forward pass and for its repetition."""
    return nullcontext(), _on_copies_of_the_statistics(block)


@contextmanager
def _on_copies_of_the_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norms have already included this batch in their running statistics."""
    statistics = [
        (norm, name, buffer)
        for norm in block.modules()
        if isinstance(norm, nn.BatchNorm2d)
        for name, buffer in norm.named_buffers(recurse=False)
    ]
    for norm, name, buffer in statistics:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in statistics:
            setattr(norm, name, buffer)
