"""The log folders that are followed, network mounts among them, and the names of their runs."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISLNK, S_ISVTX, S_IWOTH
from typing import NamedTuple

from .machine.proc import user_of
from .rights import ROOT_UID, is_root, open_to_others


class LogTree(NamedTuple):
    """A key is the name of a file or folder: `path_of(name_of(path)) == path` for all that lie in a followed folder."""

    root: Path  # resolved; holds all that is followed
    only: tuple[str, ...] = ()  # paths of folders in it, home first: nothing else of it is followed; () for all
    front: str = (
        ""  # stands before the names of home's runs, too, in stores that earlier versions made for several folders
    )

    @classmethod
    def of(cls, place: LogTree | Path) -> LogTree:
        return place if isinstance(place, LogTree) else cls(place)

    @property
    def home(self) -> Path:
        return self.root / self.only[0] if self.only else self.root

    @property
    def tops(self) -> list[Path]:
        return [self.root / name for name in self.only] or [self.root]

    def name_of(self, path: Path | str) -> str:
        """Of what lies elsewhere, the whole path."""
        text, home, root = str(path), _with_slash(self.home), _with_slash(self.root)
        if text.startswith(home):
            inside = text[len(home) :]
            if self.front:
                return f"{self.front}/{inside}"
            if not self._is_anothers(inside):
                return inside
        return text[len(root) :] if text.startswith(root) else text

    def path_of(self, name: str) -> Path:
        if self.front:
            is_home, inside = name.startswith(f"{self.front}/"), name[len(self.front) + 1 :]
            return self.home / inside if is_home else self.root / name
        before, _, inside = name.partition(f"{self.only[0]}/") if self.only else (name, "", "")
        is_whole = not before and self._is_anothers(inside)
        return (self.root if is_whole or self._names_another(name) else self.home) / name

    def above(self, top: Path) -> Path:
        """The folder below which a run of one file in `top` has its name as its path."""
        if top != self.home:
            return self.root
        return self.home.joinpath(*[".."] * len(Path(self.front).parts)).resolve() if self.front else self.home

    def _names_another(self, name: str) -> bool:
        return any(name == other or name.startswith(f"{other}/") for other in self.only[1:])

    def _is_anothers(self, inside: str) -> bool:
        """Whether a path in home reads like the name of something in another folder, or like such a name with home's in front."""
        while self.only and inside.startswith(f"{self.only[0]}/"):
            inside = inside[len(self.only[0]) + 1 :]
        return self._names_another(inside)


def _with_slash(folder: Path) -> str:
    return f"{str(folder).rstrip('/')}/"


# Where the files lie that other hosts hand over: known to the web process, which writes them, and to what follows them.
#
# `<log-dir>/.remote/<writer>/<run>/metrics.jsonl` is of the run `.remote/<writer>/<run>`. What such files say of processes and folders
# is true of another host: here it names nothing.

FOLDER = ".remote"  # of the log folder
BY_OTHERS = -1  # the user who owns them: none of this host


def is_received(run: str) -> bool:
    """Also where several log folders are followed: `runs/.remote/local/a`."""
    return f"/{FOLDER}/" in f"/{run}"


# The kind of a folder's file system.

REMOTE = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "beegfs",
    "fuse.sshfs",
    "fuse.s3fs",
}


def is_remote(path: Path) -> bool:
    """Whether a folder lies on a network file system, where inotify does not work and SQLite's locks are unreliable."""
    return file_system_of(path) in REMOTE


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the mount that holds a path, e.g. `ext4`."""
    target = path.resolve()
    best, kind = "", ""
    for line in mounts.read_text().splitlines():
        _, mount, fs_type, *_ = line.split()
        mount = mount.encode().decode("unicode_escape")  # blanks are written \040
        if target.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, fs_type
    return kind


# The data folder of a log folder, which only its owner may read.

INSIDE = ".deepseek"
OURS = re.compile(
    r"(runs|machine-\d{4}-W\d\d)\.sqlite(-wal|-shm)?|writer\.lock|control\.sock|set-aside\.(json|new)|(settings|alerts|mutes)\.yaml|kept\.jsonl|tokens\.json|\.tokens\.lock|audit(\.1)?\.jsonl|\.new-\w+|\.writable|\.?web\.json(\.\d+)?|dashboard\.log"
)
OURS_TOO = {"runs", "alerts"}  # folders, whose modes are left alone: they may be another program's of that name
SHARED = Path("/var/tmp")  # where each user may make a folder of any name
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def data_dir_of(log_dir: Path) -> Path:
    """`<log-dir>/.deepseek`; a folder of this host if that is another user's, or on a network file system, where SQLite fails."""
    return local_data_dir(log_dir) if relocation_reason(log_dir) else log_dir / INSIDE


def relocation_reason(log_dir: Path) -> str:
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
    import hashlib  # OpenSSL: the keeper of a program needs no store

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
