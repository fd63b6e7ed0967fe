"""A training that is a job of `deepseek-jobs`: its run is the job's, and its exit code says whether it can go on (docs/jobs.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def is_job(environment: Mapping[str, str] = os.environ) -> bool:
    return "DEEPSEEK_JOB" in environment


def run_of_the_job(log_dir: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """The name of the job's run, where its folder is in this log folder."""
    folder, log_dir = Path(environment.get("DEEPSEEK_RUN_FOLDER", "")), log_dir.resolve()
    return folder.relative_to(log_dir).as_posix() if is_job(environment) and log_dir in folder.parents else None
