"""Where the store of a log folder lies."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from .watch import is_remote

INSIDE = ".deepseek"


def data_dir_of(log_dir: Path) -> Path:
    """`<log-dir>/.deepseek`; for a log folder on a network file system, where SQLite cannot lie, a folder of this host."""
    return log_dir / INSIDE if not is_remote(log_dir) else local_data_dir(log_dir)


def local_data_dir(log_dir: Path) -> Path:
    """`~/.local/state/deepseek-dashboard/<hash>`, or below /var/tmp where the home folder is remote, too."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    base = home if not is_remote(home) else Path(f"/var/tmp/{os.getuid()}")
    return base / "deepseek-dashboard" / hashlib.blake2b(str(log_dir.resolve()).encode(), digest_size=8).hexdigest()
