"""An error that the user can correct."""


class UserError(Exception):
    """One sentence that says what is wrong and what to do; the command line prints it and exits with `code`."""

    code = 2


class Diverged(UserError):
    """The training's own fault, not the command's."""

    code = 1
