"""What the owner wants to submit from the page, checked as `deepseek-jobs submit` checks it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jobs.errors import QueueError
from jobs.request import JobRequest
from jobs.submission import request_of


class WantedJob(NamedTuple):
    """Either `argv` or `command`; folders as they are written, `log_dir` relative to `cwd`."""

    argv: Sequence[str] | None
    command: str | None
    cwd: str
    log_dir: str
    slots: int
    memory: str | None
    priority: str
    share: bool
    resume_with: str | None
    name: str
    env: Sequence[str]
    force: bool = False

    def request(self, environment: Mapping[str, str] = os.environ) -> JobRequest:
        """With what of the dashboard's environment a job is given. Raises QueueError."""
        texts = [
            *(self.argv or ()),
            self.command or "",
            self.cwd,
            self.log_dir,
            self.name,
            *self.env,
            self.resume_with or "",
        ]
        if any("\0" in text for text in texts):
            raise QueueError("a field has a NUL byte, which no program can be given")
        argv = self._words()
        cwd = _place(self.cwd)
        try:
            if not cwd.is_absolute() or not cwd.is_dir():
                raise QueueError(
                    f"{self.cwd!r} is no folder of this host; write the whole path of the folder in which the command is to run"
                )
            return request_of(
                argv, cwd=cwd, environment=environment, gpus=self.slots, memory=self.memory or None, priority=self.priority, share=self.share,
                resume_with=self.resume_with or None, name=self.name, log_dir=_place(self.log_dir or "logs"), env=self.env,
                force=self.force, is_text=self.command is not None,
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError) as error:
            raise QueueError(f"a folder or the command cannot be used ({error}); check what is written") from None

    def _words(self) -> Sequence[str]:
        if (self.argv is None) == (self.command is None):
            raise QueueError("a job has either argv, a list, or command, one text")
        if self.argv is not None:
            return self.argv
        try:
            return shlex.split(self.command or "")
        except ValueError as error:
            raise QueueError(f"the command cannot be split into words ({error}); quote it as for a shell") from None


def _place(text: str) -> Path:
    """`~/project` -> `/home/me/project`. Raises QueueError."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise QueueError(f"there is no user whose home {text!r:.200} could be; write the whole path") from None
