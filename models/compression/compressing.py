"""Compress: one call from a recipe to an artifact that passes its gates, as a run of the kind `compression`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ModelsError, cannot_write
from ..extras import needed
from . import images
from .making import CandidateMaker
from .recipe import CompressionRecipe
from .search import search
from .verdict import CompressionVerdict, decide
from .work_folder import WorkFolder

if TYPE_CHECKING:
    from deepseek.trainer.run_log import RunLog


def compress(recipe: CompressionRecipe) -> CompressionVerdict:
    """The verdict has the artifact, or says which gates its best candidate does not pass.

    What was made stays in the recipe's `work`; called again, it goes on there. Raises ModelsError for what the user can change.
    """
    recipe.require()
    if os.path.lexists(recipe.out):
        raise ModelsError(f"{recipe.out} is already there: choose another folder, or remove it")
    data = images.load(recipe.data, recipe.images)
    work = WorkFolder(recipe.work, recipe.about())
    with _run(recipe) as log:
        maker = CandidateMaker(recipe, data, work, log)
        maker.teacher()
        found = search(maker, recipe.trials) if recipe.trials else [maker.candidate(choice) for choice in recipe.choices()]
        verdict = decide(maker, found)
        log.text(
            str(verdict) if verdict.artifact else f"no candidate passes; the nearest: {verdict}; {'; '.join(verdict.refusals)}"
        )
        return verdict


def _run(recipe: CompressionRecipe) -> RunLog:
    kept = needed("deepseek.trainer.run_log")
    try:
        log: RunLog = kept.RunLog(
            recipe.logs, recipe.run, kind="compression", unit="candidate", name="compress", config=recipe.config()
        )
    except OSError as error:
        raise cannot_write(recipe.logs, error) from error
    except ValueError as error:  # a name that leaves the folder
        raise ModelsError(str(error)) from error
    return log
