"""A sandbox: programs see all files of this host, and what they write is gone with them.

In namespaces of their own for mounts and processes, every writable file system lies below an overlay whose writes go to memory; one
that no overlay can be made of is read-only. Ended as a whole, it leaves no process and no mount. Network and GPUs are the host's.
This file is also what runs inside, before the program; that half needs the standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 1, 32, 4096, 16384
VIRTUAL: Final = ("/proc", "/sys", "/dev")
FAILED: Final = 97  # the exit code where no sandbox can be made
GRACE_S: Final = (3.0, 2.0)  # that a program gets after SIGINT, and after SIGTERM
ASK_S: Final = 0.05
SAID: Final = "sandbox.log"  # in the shared folder, what is printed inside
INITIAL_USERS: Final = (
    0xEFFFFFFD  # the inode of the host's user namespace: PROC_USER_INIT_INO of include/linux/proc_ns.h
)


class SandboxError(Exception):
    """One sentence that says why there is none, and what to do."""


class Inside(NamedTuple):
    """What runs inside."""

    program: Sequence[str]
    beside: Sequence[str]  # a second one, which is killed when the program ends
    folder: Path  # the working folder of both
    shared: Path  # a folder that is the host's own, for results
    logs: tuple[Path, Path] | None = None  # a folder below `shared`, and where it is seen inside, too


class Sandbox:
    """Programs inside; `close` ends all of them."""

    def __init__(self, inside: Inside) -> None:
        """Raises SandboxError."""
        missing = [name for name in ("unshare", "setpriv") if shutil.which(name) is None]
        if missing:
            raise SandboxError(f"there is no sandbox without {' and '.join(missing)}: install util-linux")
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        told = json.dumps(inside, default=str)
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *user, "--mount", "--pid", "--fork", "--kill-child"]
        command += ["--propagation", "private", sys.executable, "-P", __file__, told]
        self._said = inside.shared / SAID
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )

    def exit_code(self) -> int | None:
        """Of the program; None while it runs. Raises SandboxError where there is no sandbox."""
        code = self._process.poll()
        said = self._said.read_text(errors="replace").strip().rpartition("\n")[2] if code else ""
        if code == FAILED or (code and said.startswith("unshare:")):
            raise SandboxError(f"this host allows no sandbox ({said}): allow user namespaces, or run this as root")
        return code

    def close(self) -> None:
        """SIGINT, then SIGTERM to the program; SIGKILL to all."""
        first = self._first()
        for number, grace_s in zip((signal.SIGINT, signal.SIGTERM), GRACE_S, strict=True):
            until_s = time.monotonic() + grace_s
            if first is not None and self._process.poll() is None:
                os.kill(first, number)
            while first is not None and self._process.poll() is None and time.monotonic() < until_s:
                time.sleep(ASK_S)
        if self._process.poll() is None:
            os.kill(self._process.pid if first is None else first, signal.SIGKILL)
        self._process.wait()

    def _first(self) -> int | None:
        """The process 1 inside, whose end ends all others; None before it is there."""
        try:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None


def main(told: str) -> int:
    """As process 1 inside: make the file system, start what runs beside, and become the program."""
    words: dict[str, Any] = dict(zip(Inside._fields, json.loads(told), strict=True))
    shared = Path(words["shared"])
    try:
        root = _make_root(shared / "scratch", Path(words["folder"]))
        _bind(shared, root)
        if words["logs"]:
            source, seen = map(Path, words["logs"])
            _below(root, seen).mkdir(parents=True, exist_ok=True)
            _mount(source, _below(root, seen), flags=MS_BIND | MS_REC)
        os.chroot(root)
        os.chdir(words["folder"])
        with (shared / "beside.log").open("wb") as log:
            subprocess.Popen(words["beside"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        os.execvp(words["program"][0], words["program"])
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return FAILED


def _make_root(scratch: Path, working: Path) -> Path:
    """The host's file systems below overlays, in a file system in memory. Raises OSError.

    The working folder has an overlay of its own: in a user namespace, nothing can be written below a folder of another user's otherwise.
    """
    folders = sorted({*_mount_points(), working} - {Path("/")}, key=lambda path: (len(path.parts), path))
    scratch.mkdir()
    _mount("tmpfs", scratch, "tmpfs")
    root = scratch / "root"
    root.mkdir()
    layers = Layers(root, scratch / "layers", frozenset(folders))
    for path in (Path("/"), *folders):
        if layers.holds(path):
            layers.show(path)
    for name in VIRTUAL[1:]:
        _bind(Path(name), root)
    _mount("proc", root / "proc", "proc")
    return root


class Layers:
    """What the root shows of the host. `apart` are folders that are shown by themselves, after those that hold them."""

    def __init__(self, root: Path, folder: Path, apart: Collection[Path]) -> None:
        self._root, self._folder, self._apart, self._count = root, folder, apart, 0

    def holds(self, path: Path) -> bool:
        """Whether there is a place for it, and it is a file system of files."""
        return not _is_virtual(path) and path.exists() and _below(self._root, path).exists()

    def show(self, path: Path) -> None:
        """Below an overlay; a file read-only, and a folder of which no overlay can be made. Raises OSError.

        In a user namespace, a folder that holds mounts has none: then each entry is shown by itself.
        """
        target = _below(self._root, path)
        if path.is_dir():
            try:
                self._count += 1
                _overlay(path, target, self._folder / str(self._count))
            except OSError:
                if any(path in other.parents for other in self._apart):
                    self._show_entries(path)
                else:
                    _bind_read_only(path, target)
        else:
            _bind_read_only(path, target)

    def _show_entries(self, folder: Path) -> None:
        for path in folder.iterdir():
            target = _below(self._root, path)
            if path.is_symlink():
                target.symlink_to(path.readlink())
            elif path.is_dir():
                target.mkdir()
            else:
                target.touch()
            if not path.is_symlink() and not _is_virtual(path) and path not in self._apart:
                self.show(path)


def _is_virtual(path: Path) -> bool:
    return any(path.is_relative_to(top) for top in VIRTUAL)


def _bind_read_only(path: Path, target: Path) -> None:
    _mount(path, target, flags=MS_BIND | MS_REC)
    kept = os.statvfs(target).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)  # which a user may not take away
    _mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | kept)


def _mount_points() -> set[Path]:
    """Of this namespace."""
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.split()[4] for line in file]
    return {Path(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), field)) for field in fields}


def _overlay(lower: Path, target: Path, folder: Path) -> None:
    """`target` shows what `lower` holds; writes go to `folder`. Raises OSError."""
    upper, work = folder / "upper", folder / "work"
    for made in (upper, work):
        made.mkdir(parents=True)
    upper.chmod(lower.stat().st_mode & 0o7777)
    layers = {"lowerdir": lower, "upperdir": upper, "workdir": work}
    options = [f"{name}=" + re.sub(r"([\\,:])", r"\\\1", str(path)) for name, path in layers.items()]
    if Path("/proc/self/ns/user").stat().st_ino != INITIAL_USERS:
        options.append("userxattr")
    _mount("overlay", target, "overlay", data=",".join(options))


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _bind(path: Path, root: Path) -> None:
    """At the same place below the root."""
    _mount(path, _below(root, path), flags=MS_BIND | MS_REC)


def _mount(source: str | Path, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) if word else None for word in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), data.encode(errors="surrogateescape") or None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {kind or source} there ({os.strerror(number)})", str(target))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
