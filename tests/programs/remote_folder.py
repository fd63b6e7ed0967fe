"""Serves a folder over FUSE, to read, as a network file system would: what changes behind it, no inotify tells.

python tests/programs/remote_folder.py FOLDER MOUNT_POINT [CACHE_S]        needs root; mounted as fuse.sshfs until it is killed

With CACHE_S the client may answer from what it knows of a file's size and times, and from what it knows of names, for so long.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

IN, OUT = struct.Struct("<IIQQIII4x"), struct.Struct("<IiQ")
ATTR = struct.Struct("<6Q10I")
LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, INIT, OPENDIR, READDIR, RELEASEDIR, BATCH_FORGET = (
    1,
    2,
    3,
    14,
    15,
    18,
    26,
    27,
    28,
    29,
    42,
)
DIRECT_IO = 1  # nothing is kept in the client's page cache
MESSAGE_BYTES = 1 << 20


class Folder:
    def __init__(self, root: Path, cache_s: int) -> None:
        self._paths = {1: root}
        self._nodes = {root: 1}
        self._cache_s = cache_s
        self._listings: dict[int, list[bytes]] = {}  # by handle
        self._handles = 0

    def answer(self, opcode: int, node: int, body: bytes) -> bytes:
        """Raises OSError with what the client is to be told."""
        if opcode == INIT:
            major, _, readahead, _ = struct.unpack_from("<4I", body)
            return struct.pack("<4I2H2I2H8I", major, 31, readahead, 0, 0, 0, 4096, 1, 0, 0, *[0] * 8)
        path = self._paths[node]
        if opcode == LOOKUP:
            return self._entry(path / os.fsdecode(body.rstrip(b"\0")))
        if opcode == GETATTR:
            return struct.pack("<QII", self._cache_s, 0, 0) + attributes(path.lstat())
        if opcode == OPEN:
            return struct.pack("<QII", os.open(path, os.O_RDONLY), DIRECT_IO, 0)
        if opcode == OPENDIR:
            self._handles += 1
            self._listings[self._handles] = list(entries(path))
            return struct.pack("<QII", self._handles, 0, 0)
        if opcode == READ:
            handle, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(handle, size, offset)
        if opcode == READDIR:
            handle, offset, size = struct.unpack_from("<QQI", body)
            rows = self._listings[handle][offset : offset + size // 24]
            ends = itertools.accumulate(map(len, rows))
            return b"".join(rows[: sum(end <= size for end in ends)])
        if opcode == RELEASE:
            os.close(struct.unpack_from("<Q", body)[0])
            return b""
        if opcode == RELEASEDIR:
            del self._listings[struct.unpack_from("<Q", body)[0]]
            return b""
        raise OSError(errno.ENOSYS, "not served")

    def _entry(self, path: Path) -> bytes:
        found = path.lstat()
        node = self._nodes.setdefault(path, len(self._nodes) + 1)
        self._paths[node] = path
        return struct.pack("<4Q2I", node, 0, self._cache_s, self._cache_s, 0, 0) + attributes(found)


def attributes(of: os.stat_result) -> bytes:
    times = [divmod(one, 10**9) for one in (of.st_atime_ns, of.st_mtime_ns, of.st_ctime_ns)]
    seconds, rests = zip(*times, strict=True)
    return ATTR.pack(
        of.st_ino, of.st_size, of.st_blocks, *seconds, *rests, of.st_mode, of.st_nlink, of.st_uid, of.st_gid, 0, of.st_blksize, 0
    )  # fmt: skip


def entries(path: Path) -> Iterator[bytes]:
    for place, entry in enumerate(sorted(os.scandir(path), key=lambda entry: entry.name), 1):
        name = os.fsencode(entry.name)
        kind = (stat.S_IFLNK if entry.is_symlink() else stat.S_IFDIR if entry.is_dir() else stat.S_IFREG) >> 12
        row = struct.pack("<QQII", entry.inode(), place, len(name), kind) + name
        yield row + bytes(-len(row) % 8)


def main() -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"box:/logs", os.fsencode(sys.argv[2]), b"fuse.sshfs", 0, options):
        sys.exit(os.strerror(ctypes.get_errno()))
    folder = Folder(Path(sys.argv[1]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    print("mounted", flush=True)
    while True:
        try:
            message = os.read(device, MESSAGE_BYTES)
        except OSError as error:
            if error.errno == errno.ENODEV:  # unmounted
                return
            raise
        _, opcode, unique, node, *_ = IN.unpack_from(message)
        if opcode in (FORGET, BATCH_FORGET):
            continue
        try:
            code, answer = 0, folder.answer(opcode, node, message[IN.size :])
        except OSError as error:
            code, answer = -(error.errno or errno.EIO), b""
        os.write(device, OUT.pack(OUT.size + len(answer), code, unique) + answer)


main()
