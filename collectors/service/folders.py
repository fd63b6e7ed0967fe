"""The data folder of a log folder, which only its owner may read."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISLNK, S_ISVTX, S_IWOTH

from ..mounts import is_remote
from ..process.proc import user_of
from ..rights.whose import ROOT_UID, is_root, open_to_others

INSIDE = ".deepseek"
OURS = re.compile(
    r"(runs|machine-\d{4}-W\d\d)\.sqlite(-wal|-shm)?|writer\.lock|control\.sock|set-aside\.(json|new)|(settings|alerts|mutes)\.yaml|kept\.jsonl|tokens\.json|\.tokens\.lock|audit(\.1)?\.jsonl|\.new-\w+|\.writable|\.?web\.json(\.\d+)?|dashboard\.log"
)
OURS_TOO = {"runs", "alerts"}  # folders, whose modes are left alone: they may be another program's of that name
SHARED = Path("/var/tmp")  # where each user may make a folder of any name
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def data_dir_of(log_dir: Path) -> Path:
    """`<log-dir>/.deepseek`; a folder of this host if that is another user's, or on a network file system, where SQLite fails."""
    return local_data_dir(log_dir) if why_elsewhere(log_dir) else log_dir / INSIDE


def why_elsewhere(log_dir: Path) -> str:
    """Why the data folder is not in the log folder, as a sentence without its end; "" where it is."""
    inside = log_dir / INSIDE
    if theirs := not_ours(inside) or _exchangeable(log_dir):
        return f"{inside} is not used ({theirs})"
    return f"{log_dir} is on a network file system" if is_remote(log_dir) else ""


def _exchangeable(log_dir: Path) -> str:
    """Why another user could put something else in the place of what root has in there; "" where none can, or we are not root."""
    if not is_root():
        return ""
    try:
        found = log_dir.stat()
    except OSError:
        return ""
    theirs = f"its folder belongs to {user_of(found.st_uid)}" if found.st_uid != ROOT_UID else ""
    return theirs or ("other users may write to its folder" if open_to_others(found.st_mode) else "")


def not_ours(data_dir: Path) -> str:
    """Why we may not write there: another user could redirect it. "it belongs to anna"; "" if it is ours, or does not exist yet.

    Of a link both owners count, its own and the folder's.
    """
    try:
        found = [data_dir.lstat(), data_dir.stat()]
    except OSError:
        return ""
    stranger = next((status.st_uid for status in found if status.st_uid != os.geteuid()), None)
    if stranger is not None:
        return f"it belongs to {user_of(stranger)}"
    open_to_all = found[1].st_mode & S_IWOTH and not found[1].st_mode & S_ISVTX
    return "everybody may write to it" if open_to_all and not _is_all_ours(data_dir) else ""


def local_data_dir(log_dir: Path) -> Path:
    """`~/.local/state/deepseek-dashboard/<hash>`, or below /var/tmp where the home folder is remote, too, or there is none."""
    home = Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"))  # noqa: PTH111  # as it is without a home
    base = home if home.is_absolute() and not is_remote(home) else SHARED / str(os.getuid())
    return base / "deepseek-dashboard" / hashlib.blake2b(str(log_dir.resolve()).encode(), digest_size=8).hexdigest()


def make_private(data_dir: Path) -> None:
    """Make the folder, and remove other users' rights; in a folder with other files, only from our own files.

    Raises OSError, also where the folder is another user's.
    """
    if data_dir.is_relative_to(SHARED):
        _make_ours(SHARED / data_dir.relative_to(SHARED).parts[0])
    data_dir.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    if why := not_ours(data_dir):
        raise PermissionError(errno.EPERM, why, str(data_dir))
    names = os.listdir(data_dir)  # noqa: PTH208  # names are all that is needed
    if _is_all_ours(data_dir):
        _tighten(data_dir, FOLDER_MODE)
    for name in filter(OURS.fullmatch, names):
        _tighten(data_dir / name, FILE_MODE)


def _make_ours(folder: Path) -> None:
    """Make it. Raises OSError where another user has made it before, or could exchange what we put there."""
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or S_ISLNK(found.st_mode) or open_to_others(found.st_mode):
        raise PermissionError(errno.EPERM, f"another user may write to {folder}", str(folder))


def _is_all_ours(data_dir: Path) -> bool:
    """Whether nothing but a store, and what users say in files, lies there."""
    names = os.listdir(data_dir)  # noqa: PTH208  # names are all that is needed
    others = [name for name in names if not OURS.fullmatch(name)]
    return not others or (set(others) <= OURS_TOO and len(names) > len(others))


def _tighten(path: Path, mode: int) -> None:
    """Another user's file stays as it is."""
    with suppress(FileNotFoundError, PermissionError):
        stat = path.lstat()
        if stat.st_uid == os.geteuid() and not S_ISLNK(stat.st_mode) and S_IMODE(stat.st_mode) & ~mode:
            path.chmod(mode)
