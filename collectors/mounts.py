"""The kind of a folder's file system."""

from __future__ import annotations

from pathlib import Path

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
