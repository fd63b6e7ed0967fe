"""What the user can change: a broken file, a missing package or data set, a full disk, a wrong option."""

from __future__ import annotations

import errno


class ModelsError(Exception):
    """One sentence with the error and the remedy; the command prints it and exits with `code`."""

    code = 1


class WrongOption(ModelsError):
    """A mistake in the command."""

    code = 2


class BadArtifact(ModelsError):
    """The folder of a model is not what its manifest says."""


class CannotRun(ModelsError):
    """A runtime refuses a model, or the inputs do not fit it."""


class CannotExport(ModelsError):
    """A model that has no ONNX form, or none that computes the same."""


def cannot_write(place: object, error: OSError) -> ModelsError:
    """The sentence for a disk that is full or a folder that may not be written; what was begun must be removed by the caller."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelsError(
            f"the disk of {place} is full: make room or choose another folder, and run it again; nothing was left there"
        )
    return ModelsError(
        f"cannot write {place}: {error.strerror or error}; choose another folder; nothing was left there"
    )
