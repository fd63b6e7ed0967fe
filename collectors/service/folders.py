"""Where the store of a log folder lies, and that it is its owner's alone."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISLNK

from ..mounts import is_remote

INSIDE = ".deepseek"
OURS = re.compile(r"(runs|machine-\d{4}-W\d\d)\.sqlite(-wal|-shm)?|writer\.lock|control\.sock|set-aside\.(json|new)|\.writable")
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def data_dir_of(log_dir: Path) -> Path:
    """`<log-dir>/.deepseek`; for a log folder on a network file system, where SQLite cannot lie, a folder of this host."""
    return log_dir / INSIDE if not is_remote(log_dir) else local_data_dir(log_dir)


def local_data_dir(log_dir: Path) -> Path:
    """`~/.local/state/deepseek-dashboard/<hash>`, or below /var/tmp where the home folder is remote, too."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    base = home if not is_remote(home) else Path(f"/var/tmp/{os.getuid()}")
    return base / "deepseek-dashboard" / hashlib.blake2b(str(log_dir.resolve()).encode(), digest_size=8).hexdigest()


def make_private(data_dir: Path) -> None:
    """Make the folder, and take away what others may do in it; of a folder that holds other things, too, only from our own files.

    Raises OSError.
    """
    data_dir.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    names = os.listdir(data_dir)  # noqa: PTH208  # names are all that is needed
    if all(map(OURS.fullmatch, names)):
        _tighten(data_dir, FOLDER_MODE)
    for name in filter(OURS.fullmatch, names):
        _tighten(data_dir / name, FILE_MODE)


def _tighten(path: Path, mode: int) -> None:
    """Another user's is left as it is."""
    with suppress(FileNotFoundError, PermissionError):
        stat = path.lstat()
        if stat.st_uid == os.geteuid() and not S_ISLNK(stat.st_mode) and S_IMODE(stat.st_mode) & ~mode:
            path.chmod(mode)
