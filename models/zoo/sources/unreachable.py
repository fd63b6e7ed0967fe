"""Without a connection: what to run later, and which model of the same task is here."""

from __future__ import annotations

from ...errors import ModelsError


class Unreachable(ModelsError):
    """Where models come from did not answer."""
