"""Record what the libraries write, for `make test`: the log folder, packed, beside what the library read back.

python -m tests.integrations.environment long && .integrations/bin/python -m tests.integrations.record [PROGRAM ...]

The files of TensorBoard, Lightning and Hugging Face are recorded by tests/record_tensorboard.py and tests/record_formats.py.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
PROGRAMS_RECORDED = ("pandas_csv", "trackio_log", "mlflow_files", "mlflow_sqlite", "wandb_offline", "lm_eval_scores")
RECORDED = Path(__file__).parents[1] / "recorded" / "formats"


def record(program: str) -> None:
    """`trackio_log.tar.xz` and `trackio_log.json`."""
    with tempfile.TemporaryDirectory() as work:
        logs, told = Path(work) / "logs", Path(work) / "told.json"
        logs.mkdir()
        shutil.copytree(PROGRAMS, Path(work) / "programs")  # whose place some libraries write down
        command = [sys.executable, f"programs/{program}.py", str(logs), str(told)]
        subprocess.run(command, input="\n", text=True, check=True, cwd=work)
        shutil.copy(told, RECORDED / f"{program}.json")
        with tarfile.open(RECORDED / f"{program}.tar.xz", "w:xz") as packed:
            packed.add(logs, "logs", filter=plain)


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without who wrote it, and without links."""
    if member.issym():
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    for name in sys.argv[1:] or PROGRAMS_RECORDED:
        record(name)
