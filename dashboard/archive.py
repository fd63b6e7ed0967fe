"""A run as one file: a zip that opens elsewhere, or TensorBoard event files."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import socket
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from access.files import Unwritable
from collectors import VERSION as COLLECTORS_VERSION
from collectors.folders import LogTree
from collectors.logs.formats.tfrecord import VERSION, crc32c, masked
from collectors.machine.proc import alive, start_ticks
from collectors.provenance import DIFF
from collectors.records import Points, Sample
from collectors.store.engines import maintenance, open_store
from collectors.store.run_copy import copy_run, points_of
from collectors.store.store import Store, StoreError
from collectors.untrusted import OverLimit, ReaderProcess

from .samples import RunPlaces, small
from .user_files.run_notes import NOTHING, about_run, save_about

# A run's points as TensorBoard event files, one folder a rank: what TensorBoard and its readers show as scalars.
#
# A file is a row of records (length, its CRC, data, their CRC), the first one naming the version. Each other record is an Event of
# protobuf: wall time, step, and the values of that moment. Points without a step are counted.

PLACED = ("host", "rank", "source")  # labels that say nothing more there
HEAD, CRC = struct.Struct("<Q"), struct.Struct("<I")
WALL_TIME, STEP, FILE_VERSION, SUMMARY = 1, 2, 3, 5  # fields of Event
VALUE, TAG, SIMPLE_VALUE = 1, 1, 2  # of Summary; of Value
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # kinds of field


class ExportResult(NamedTuple):
    points: int
    files: int
    left_out: list[str]  # in words


def write_event_files(store: Store, run: str, target: Path) -> ExportResult:
    """Into a folder that is new: whole, or not at all. Raises UnknownRun, StoreError, TooMuch, OSError."""
    missed: set[str] = set()
    count, files, steps = 0, dict[int, BinaryIO](), Counter[tuple[int, tuple[str, ...]]]()
    all_points = points_of(store, run, missed)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as made:
        whole = Path(made) / "events"
        whole.mkdir()
        with ExitStack() as opened:
            for points in map(_tagged, all_points):
                rank = rank_of(points)
                if rank not in files:
                    first_s = points.time_s or 0.0
                    files[rank] = opened.enter_context(_new_file(whole, rank, first_s))
                    files[rank].write(framed(_double(WALL_TIME, first_s) + _bytes(FILE_VERSION, VERSION + b"2")))
                if points.step is None:  # counted, for each set of names: else all of them would stand in one place
                    points = points._replace(step=steps[rank, points.names])
                    steps[rank, points.names] += 1
                files[rank].write(event_of(points))
                count += len(points.values)
        whole.replace(target)
    return ExportResult(count, len(files), sorted(missed))


def rank_of(points: Points) -> int:
    rank = dict(points.labels).get("rank", "0")
    return int(rank) if rank.isdecimal() else 0


def _new_file(folder: Path, rank: int, first_s: float) -> BinaryIO:
    place = folder / f"rank{rank}" if rank else folder
    place.mkdir(exist_ok=True)
    return (place / f"events.out.tfevents.{int(first_s)}.{socket.gethostname()}.{rank}").open("xb")


def _tagged(points: Points) -> Points:
    """A label that TensorBoard has no place for stands in the tag: `utilization_pct/gpu 1`."""
    more = "".join(f"/{key} {value}" for key, value in points.labels if key not in PLACED)
    return points._replace(names=tuple(f"{name}{more}" for name in points.names)) if more else points


def event_of(points: Points) -> bytes:
    """A record: the values of one moment."""
    values = b"".join(
        _bytes(VALUE, _bytes(TAG, name.encode(errors="replace")) + _float(SIMPLE_VALUE, value))
        for name, value in zip(points.names, points.values, strict=True)
    )
    return framed(_double(WALL_TIME, points.time_s or 0.0) + _varint(STEP, points.step or 0) + _bytes(SUMMARY, values))


def framed(data: bytes) -> bytes:
    """`length, masked CRC of it, data, masked CRC of them`"""
    head = HEAD.pack(len(data))
    return head + CRC.pack(masked(crc32c(head))) + data + CRC.pack(masked(crc32c(data)))


def _key(field: int, kind: int) -> bytes:
    return _number(field << 3 | kind)


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers as their two's complement of 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(field: int, value: int) -> bytes:
    return _key(field, VARINT) + _number(value)


def _double(field: int, value: float) -> bytes:
    return _key(field, DOUBLE) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:  # beyond a float32
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return _key(field, FLOAT) + packed


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, BYTES) + _number(len(value)) + value


# A run as one zip: `manifest.json` and a small store of that run alone.
#
#     {"format": 1, "run": "baseline", "from_s": 1764000000.5, "to_s": 1764003600.0, "exported_s": 1764007200.0, "host": "box",
#      "version": "0.1", "left_out": [], "about": {}, "parts": [{"name": "store/runs.sqlite", "bytes": 81920, "sha256": "..."}]}
#
# A zip may come from anywhere: nothing is unpacked that the manifest does not list, and nothing outside of the folder.

FORMAT = 1
MANIFEST, PARTS = "manifest.json", "store"
PART = re.compile(rf"{PARTS}/[A-Za-z0-9][A-Za-z0-9._-]{{0,100}}")
MAX_MANIFEST_BYTES, MAX_PARTS, MAX_BYTES, MAX_RATIO = 1 << 20, 2000, 10 << 30, 100
SMALL_BYTES = 1 << 20  # of such a part the ratio says nothing
LATEST_S = 1e11  # the year 5138
LONGEST_RUN = 4096  # characters of its name
MAX_MEMORY_BYTES, UNPACKED_WITHIN_S = 4 << 30, 3600.0
MAX_REASON = 100  # characters of what zipfile says, which may quote the damaged bytes
PIECE = 1 << 20
UNPACKED = "deepseek-run-"


class BadArchive(Exception):
    """One sentence on why a file is not opened."""


class Manifest(NamedTuple):
    run: str
    from_s: float | None
    to_s: float | None
    exported_s: float
    host: str
    version: str  # of the dashboard that wrote it
    left_out: list[str]
    about: Mapping[str, Any]


def write_zip(store: Store, data_dir: Path, run: str, target: Path, logs: Path | LogTree | None = None) -> Manifest:
    """Whole, or not at all; small files of samples that lie in the run's folder, below `logs`, come along. Raises UnknownRun, StoreError, OSError."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        inside = Path(folder) / PARTS
        inside.mkdir(mode=0o700)
        copy = open_store(inside, write=True)
        try:
            copied = copy_run(store, copy, run, [DIFF], _small(store, logs, run))
        finally:
            copy.close()
        maintenance(inside).compact()
        about = about_run(data_dir, run)
        said = {
            name: value
            for name, value in asdict(about).items()
            if name != "trouble" and value != getattr(NOTHING, name)
        }
        manifest = Manifest(
            run,
            copied.from_s,
            copied.to_s,
            time.time(),
            socket.gethostname(),
            COLLECTORS_VERSION,
            copied.left_out,
            said,
        )
        fresh = Path(folder) / "run.zip"
        with zipfile.ZipFile(fresh, "x", zipfile.ZIP_DEFLATED) as archive:
            parts = [_pack(archive, path) for path in sorted(inside.iterdir()) if path.suffix == ".sqlite"]
            archive.writestr(MANIFEST, json.dumps({"format": FORMAT, **manifest._asdict(), "parts": parts}, indent=1))
        fresh.replace(target)
    return manifest


def _small(store: Store, logs: Path | LogTree | None, run: str) -> Callable[[Sample], Sample]:
    """What puts the bytes of small files into samples."""
    if logs is None:
        return lambda sample: sample
    files = [offset.path for offset in store.offsets().values() if offset.run == run]
    tree = LogTree.of(logs)
    places = RunPlaces.of(tree._replace(root=tree.root.resolve()), run, "", files)
    return lambda sample: small(sample, places)


def _pack(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    digest, name = hashlib.sha256(), f"{PARTS}/{path.name}"
    with path.open("rb") as file, archive.open(name, "w", force_zip64=True) as packed:
        while piece := file.read(PIECE):
            digest.update(piece)
            packed.write(piece)
    return {"name": name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def unpack_apart(source: Path, folder: Path) -> Manifest:
    """The same as `unpack`, in a process with limits."""
    process = ReaderProcess("archive", memory_bytes=MAX_MEMORY_BYTES, timeout_s=UNPACKED_WITHIN_S)
    try:
        return process.read(unpack, source.resolve(), folder)
    except OverLimit as error:
        raise BadArchive(f"{source.name} {error}; export the run once more") from error
    finally:
        process.close()


def unpack(source: Path, folder: Path) -> Manifest:
    """The store into `folder`, which is empty. Raises BadArchive, OSError."""
    try:
        with zipfile.ZipFile(source) as archive:
            known, manifest = _manifest(archive)
            _check_members(archive, known)
            for name, (length, digest) in known.items():
                _unpack(archive, name, length, digest, folder / Path(name).name)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        UnicodeError,
    ) as error:
        reason = ascii(str(error)[:MAX_REASON])[1:-1]
        raise BadArchive(f"{source.name} is no zip that can be read ({reason}); export the run once more") from error
    _check_store(source, folder, manifest.run)
    with suppress(
        ValueError, TypeError, AttributeError, Unwritable
    ):  # what others say about their run is not worth refusing it
        if manifest.about:
            save_about(folder, manifest.run, manifest.about)
    return manifest


def _manifest(archive: zipfile.ZipFile) -> tuple[dict[str, tuple[int, str]], Manifest]:
    """The parts with their lengths and hashes, and the rest. Raises BadArchive."""
    try:
        found = archive.getinfo(MANIFEST)
    except KeyError:
        raise BadArchive(
            f"there is no {MANIFEST} in it: it is not a run that `deepseek-dashboard export` has written"
        ) from None
    if found.file_size > MAX_MANIFEST_BYTES:
        raise BadArchive(f"its {MANIFEST} has more than {MAX_MANIFEST_BYTES >> 20} MiB")
    with archive.open(found) as file:
        text = file.read(MAX_MANIFEST_BYTES + 1)
    try:
        said = json.loads(text)
        if said["format"] != FORMAT:
            raise BadArchive(
                f"it has format {said['format']!r}, and this version reads format {FORMAT}: update deepseek-dashboard"
            )
        parts = {str(part["name"]): (int(part["bytes"]), str(part["sha256"])) for part in said["parts"]}
        run = str(said["run"])
        from_s, to_s = (None if said[name] is None else float(said[name]) for name in ("from_s", "to_s"))
        left_out, about = [str(item) for item in said["left_out"]], dict(said["about"])
        manifest = Manifest(
            run, from_s, to_s, float(said["exported_s"]), str(said["host"]), str(said["version"]), left_out, about
        )
    except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise BadArchive(f"its {MANIFEST} is not as it should be ({type(error).__name__}: {error})") from error
    if not 0 < manifest.exported_s < LATEST_S or not all(at is None or abs(at) < LATEST_S for at in (from_s, to_s)):
        raise BadArchive(f"its {MANIFEST} is not as it should be: a time in it is none")
    if not 0 < len(run) <= LONGEST_RUN or len(parts) > MAX_PARTS:
        raise BadArchive(f"its {MANIFEST} is not as it should be: no name of a run, or more than {MAX_PARTS} parts")
    return parts, manifest


def _check_members(archive: zipfile.ZipFile, known: Mapping[str, tuple[int, str]]) -> None:
    """Before anything is unpacked. Raises BadArchive."""
    names = [member.filename for member in archive.infolist()]
    if len(names) != len(set(names)) or set(names) != {MANIFEST, *known}:
        raise BadArchive("it holds other files than its manifest lists")
    for member in archive.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.filename != MANIFEST and not PART.fullmatch(member.filename):
            raise BadArchive(f"{member.filename!r} is no name of a part")
        if member.is_dir() or kind not in (0, stat.S_IFREG):
            raise BadArchive(f"{member.filename!r} is no regular file")
        if member.file_size > max(SMALL_BYTES, MAX_RATIO * member.compress_size):
            raise BadArchive(f"{member.filename!r} would be more than {MAX_RATIO} times as long unpacked")
        if member.filename in known and known[member.filename][0] != member.file_size:
            raise BadArchive(f"{member.filename!r} is not as long as the manifest says")
    if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
        raise BadArchive(f"it has more than {MAX_BYTES >> 30} GiB unpacked")


def _unpack(archive: zipfile.ZipFile, name: str, length: int, digest: str, target: Path) -> None:
    found, rest = hashlib.sha256(), length
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with archive.open(name) as packed, os.fdopen(descriptor, "wb") as file:
        while piece := packed.read(PIECE):
            rest -= len(piece)
            if rest < 0:
                raise BadArchive(f"{name!r} is longer than the manifest says")
            found.update(piece)
            file.write(piece)
    if rest or found.hexdigest() != digest:
        raise BadArchive(f"{name!r} is damaged: its SHA-256 is not the one of the manifest")


def _check_store(source: Path, folder: Path, run: str) -> None:
    """Raises BadArchive where the parts are no store, a damaged one, or one of other runs."""
    try:
        if troubles := list(maintenance(folder).check()):
            raise BadArchive(f"the store in {source.name} is damaged: {troubles[0]}")
        store = open_store(folder, write=False)
        try:
            names = [found.name for found in store.runs()]
        finally:
            store.close()
    except StoreError as error:
        raise BadArchive(f"the store in {source.name} cannot be read: {error}") from error
    if names != [run]:
        raise BadArchive(f"the store in {source.name} holds {len(names)} runs, not just {run!r}")


def room_for(source: Path) -> Path:
    """A new folder with room for what the zip unpacks to: the system's own, which may be small and in memory, or that of the zip."""
    needed = min(MAX_BYTES, MAX_RATIO * source.stat().st_size)
    place = Path(tempfile.gettempdir())
    beside = source.resolve().parent
    if shutil.disk_usage(place).free < needed and os.access(beside, os.W_OK):
        place = beside
    remove_left(place)
    return Path(tempfile.mkdtemp(prefix=f"{UNPACKED}{os.getpid()}-{start_ticks(os.getpid())}-", dir=place))


def remove_left(place: Path) -> None:
    """Remove what `open` commands that were killed have unpacked there; a folder's name says whose it is."""
    for folder in place.glob(f"{UNPACKED}*"):
        owner = re.match(r"(\d+)-(\d+)-", folder.name.removeprefix(UNPACKED))
        if owner and not alive(int(owner[1]), int(owner[2])):
            shutil.rmtree(folder, ignore_errors=True)  # another user's stays
