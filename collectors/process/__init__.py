"""Which processes belong to a run, which rank each is, and what state the run is in."""

from .activity import RunActivity, RunProcess, RunState, spoken
from .claims import processes_of
from .finder import Finder
from .states import state_of

__all__ = ["Finder", "RunActivity", "RunProcess", "RunState", "processes_of", "spoken", "state_of"]
