"""An error that the user can correct."""


class UserError(Exception):
    """One sentence with the error and the remedy; the command line prints it and exits with `code`."""

    code = 2


class NoCheckpoint(UserError):
    """There is nothing to go on with."""


class Diverged(UserError):
    """An error of the training, not of the command."""

    code = 1
