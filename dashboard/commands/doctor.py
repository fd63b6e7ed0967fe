"""`deepseek-dashboard doctor`: checks this host and explains how to fix what is wrong."""

from __future__ import annotations

import argparse
import ctypes
import errno
import http.client
import json
import os
import platform
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from access.program import Command
from access.program import port as port_number
from collectors import VERSION, folders
from collectors.folders import INSIDE, REMOTE, file_system_of
from collectors.log_folders import LogFolders, add_place, default_log_folders, place_of
from collectors.logs.watch import watch_error
from collectors.machine.proc import ancestors, program_of, uid_of, user_of
from collectors.message import percent
from collectors.sampler import refusal
from collectors.sampler.build import find_program
from collectors.sampler.pyspy import find_program as find_pyspy
from collectors.writer_lock import UnreadableWriter, Writer, writer_of
from deepseek.log.redaction import redacted

from .. import address
from .command import ROOT, typeable

USUAL_PORT = 8080


def arguments(parser: argparse.ArgumentParser) -> None:
    add_place(parser)
    parser.add_argument("--port", type=port_number, metavar="N", help="TCP port to check (default: the running dashboard's, else 8080)")  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print all results as JSON for a bug report, without secrets"
    )


def run(options: argparse.Namespace) -> int:
    """Exit code 1 if something is wrong."""
    from .. import address

    place = usual_place(options)
    data_dir = Path(os.path.abspath(options.data_dir)) if options.data_dir else place.data_dir  # noqa: PTH100  # a link stays as it is written
    number = options.port if options.port is not None else address.port_of(data_dir) or USUAL_PORT
    rows = diagnose(CheckedHost(tuple(place.folders), data_dir, number))
    print(json.dumps(json_of(rows), indent=1) if options.json else typeable("\n".join(lines_of(rows))), flush=True)
    return int(verdict_of(rows) == "wrong")


def usual_place(options: argparse.Namespace) -> LogFolders:
    """That of the dashboard; where that cannot be found out the usual one."""
    try:
        return place_of(options)
    except (OSError, ValueError, RuntimeError):
        folder = Path(os.path.abspath((options.log_dir or default_log_folders())[0]))  # noqa: PTH100  # it may be a link to itself
        return LogFolders(folder, (), folder / INSIDE)


COMMAND = Command("doctor", "Check this host and explain how to fix what is wrong.", arguments, run)


# What is diagnosed, and what a check answers.

Severity: TypeAlias = Literal["ok", "warning", "wrong"]
Fact: TypeAlias = str | int | float | bool | None


class CheckedHost(NamedTuple):
    """A dashboard as it is, or would be: its folders and its port. `root` is that of /proc, /sys and /dev; the tests hand in others."""

    log_dirs: tuple[Path, ...]
    data_dir: Path
    port: int
    root: Path = Path("/")

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    def read(self, path: str) -> str:
        """`read("proc/sys/kernel/osrelease")`, without blanks around it; "" where there is no such file, or it may not be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return ""


class Symptom(NamedTuple):
    """The answer of a check. `remedy` is one sentence with the command to type, "" where nothing is to be done."""

    verdict: Severity
    sentence: str
    remedy: str = ""
    facts: Mapping[str, Fact] = {}


def is_folder(path: Path) -> bool:
    """False as well where a folder above it is closed to this user."""
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises there


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    return next((path for path in (folder, *folder.parents) if is_folder(path)), Path("/"))


def worst(verdicts: list[Severity]) -> Severity:
    order: tuple[Severity, ...] = ("wrong", "warning", "ok")
    return next((verdict for verdict in order if verdict in verdicts), "ok")


# The diagnosis of a running dashboard, made by a process of its own: the web process loads no driver for it, and none can hang it.

ANSWER_WITHIN_S = 15.0
_turn = threading.Lock()  # one at a time: it looks through all of /proc


class NoDiagnosis(Exception):
    """The text is one sentence."""


def diagnosis(log_dirs: Sequence[Path], data_dir: Path, port: int | None) -> dict[str, Any]:
    """What `deepseek-dashboard doctor --json` prints. About 1 s of another process. Raises NoDiagnosis."""
    folders = [word for folder in log_dirs for word in ("--log-dir", str(folder))] + ["--data-dir", str(data_dir)]
    command = [
        sys.executable,
        str(ROOT / "app.py"),
        "doctor",
        "--json",
        *folders,
        *(["--port", str(port)] if port else []),
    ]
    with _turn:
        try:
            done = subprocess.run(command, capture_output=True, timeout=ANSWER_WITHIN_S, stdin=subprocess.DEVNULL)
            found = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            raise NoDiagnosis(
                f"the diagnosis takes more than {ANSWER_WITHIN_S:g} s; type: deepseek-dashboard doctor"
            ) from None
        except (OSError, ValueError):
            raise NoDiagnosis("the diagnosis could not be made; type: deepseek-dashboard doctor") from None
    if not isinstance(found, dict):
        raise NoDiagnosis("the diagnosis could not be made; type: deepseek-dashboard doctor")
    return found


# Do the clocks agree? Lines of other hosts and of this one meet on the wall clock, samples on the monotonic one.

WATCHED_S = 0.1
APART_S = 0.005  # within the time that they are watched
EARLIEST_S = 1_735_689_600.0  # 2025: a clock before that was never set
UNSYNCHRONISED = 5  # adjtimex's TIME_ERROR
STRUCT_BYTES = 512  # more than any struct timex has
SYNCHRONISE = "Type: sudo timedatectl set-ntp true"


def check_clock(place: CheckedHost) -> Symptom:
    before = time.monotonic(), time.time()
    time.sleep(WATCHED_S)
    apart_s = (time.time() - before[1]) - (time.monotonic() - before[0])
    known = synchronised()
    facts = {
        "apart_ms": round(apart_s * 1e3, 3),
        "synchronised": known,
        "clock_source": place.read(CLOCK_SOURCE) or None,
    }
    if time.time() < EARLIEST_S:
        return Symptom("wrong", f"the clock stands at {time.strftime('%Y-%m-%d')}.", SYNCHRONISE, facts)
    if abs(apart_s) > APART_S:
        return Symptom("warning", f"the wall clock moved {apart_s * 1e3:+.1f} ms against the monotonic one in {WATCHED_S:g} s.", SYNCHRONISE, facts)  # fmt: skip
    if known is False:
        return Symptom("warning", "the kernel says that the clock is not synchronised: lines of other hosts may lie apart.", f"{SYNCHRONISE}; in a container, on its host", facts)  # fmt: skip
    return Symptom("ok", "wall and monotonic clock agree" + (", and are synchronised." if known else "; whether they are synchronised is not known."), "", facts)  # fmt: skip


CLOCK_SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"


def synchronised() -> bool | None:
    """What the kernel's clock discipline says; None where it may not be asked."""
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(STRUCT_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != UNSYNCHRONISED


# The disk of the data folder: room, speed and whether it may be written.

LITTLE_BYTES, LITTLE = 2 * 10**9, 0.02  # free, and of the disk
NONE_BYTES = 50 * 10**6
SLOW_S = 0.1  # for a block that must be on the disk
BLOCK = b"\0" * 65536


def check_disk(place: CheckedHost) -> Symptom:
    folder = nearest(place.data_dir)
    disk = os.statvfs(folder)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    kind = _kind(place, folder.stat().st_dev)
    facts: dict[str, Fact] = {"free_bytes": free, "total_bytes": total, "kind": kind, "inodes_free": disk.f_favail}
    amount = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB are free"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Symptom("wrong", f"{folder} may not be written by this user.", f"Type: deepseek-dashboard --data-dir FOLDER, or: sudo chown $USER {folder}", facts)  # fmt: skip
    remedy = f"Type: df -h {folder}; make room, or: deepseek-dashboard --data-dir FOLDER on another disk"
    if free < NONE_BYTES or (disk.f_files and not disk.f_favail):
        return Symptom("wrong", f"the disk of {folder} is full ({amount}): nothing can be stored.", remedy, facts)
    try:
        wrote_s = _write_s(place)
    except OSError as error:
        return Symptom("wrong", f"a file cannot be written to {folder} ({error.strerror}).", remedy, facts)
    facts["write_ms"] = None if wrote_s is None else round(wrote_s * 1e3, 1)
    if free < max(NONE_BYTES, min(LITTLE_BYTES, total * LITTLE)):
        return Symptom("warning", f"{amount}.", remedy, facts)
    speed = "" if wrote_s is None else f"; a block is on the disk after {wrote_s * 1e3:.1f} ms"
    if wrote_s is not None and wrote_s > SLOW_S:
        return Symptom("warning", f"{amount}, on {kind or 'a disk'}{speed}, which is slow: pages may lag.", "Type: deepseek-dashboard --data-dir FOLDER on a local SSD", facts)  # fmt: skip
    return Symptom("ok", f"{amount}{f', on {kind}' if kind else ''}{speed}.", "", facts)


def _kind(place: CheckedHost, device: int) -> str:
    """What the kernel says of it; "" for what is no disk of this host."""
    at = place.root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    for path in (
        at / "queue/rotational",
        at / "../queue/rotational",
    ):  # of the disk, or of the one that a partition is of
        try:
            return "a disk that the kernel calls rotating" if path.read_text().strip() == "1" else "an SSD"
        except OSError:
            continue
    return ""


def _write_s(place: CheckedHost) -> float | None:
    """How long a block takes to be on the disk, in a file without a name; None where the data folder is not there yet, or allows none."""
    if not is_folder(place.data_dir):
        return None
    try:
        descriptor = os.open(place.data_dir, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except (IsADirectoryError, NotImplementedError):  # a file system without such files
        return None
    except OSError as error:
        if error.strerror == "Operation not supported":
            return None
        raise
    try:
        before_s = time.monotonic()
        os.write(descriptor, BLOCK)
        os.fdatasync(descriptor)
        return time.monotonic() - before_s
    finally:
        os.close(descriptor)


# The file systems of the log folder and of the data folder, and whether the kernel reports changes there.


def check_logs(place: CheckedHost) -> Symptom:
    """Of several folders each is said; the worst is the verdict, and its facts are those that are kept."""
    found = [_check_folder(place, folder) for folder in place.log_dirs]
    verdict = worst([symptom.verdict for symptom in found])
    first = next(symptom for symptom in found if symptom.verdict == verdict)
    return first._replace(sentence=" ".join(symptom.sentence for symptom in found))


def _check_folder(place: CheckedHost, folder: Path) -> Symptom:
    try:
        count = sum(1 for _ in zip(os.scandir(folder), range(100_000), strict=False))
    except FileNotFoundError:
        return Symptom(
            "warning",
            f"there is no log folder {folder}.",
            f"Type: mkdir -p {folder}, or name another one with --log-dir",
        )
    except NotADirectoryError:
        return Symptom("wrong", f"{folder} is not a folder.", "Type: deepseek-dashboard --log-dir FOLDER")
    except OSError as error:
        return Symptom(
            "wrong",
            f"{folder} cannot be read ({error.strerror}).",
            f"Type: ls -ld {folder}, and make it readable for this user",
        )
    kind, watched = _kind_of(place, folder), not watch_error(str(folder))
    facts: dict[str, Fact] = {"kind": kind, "inotify": watched, "entries": count}
    if kind in REMOTE:
        return Symptom("ok", f"{folder} is on {kind}: it is polled, lines appear within two seconds.", "", facts)
    if not watched:
        return Symptom("warning", f"the kernel cannot report changes in {folder} ({kind or 'unknown file system'}): it is polled.", "Type: sudo sysctl fs.inotify.max_user_watches=524288", facts)  # fmt: skip
    return Symptom(
        "ok",
        f"{folder} is on {kind or 'an unknown file system'}, {count} entries; changes are reported by the kernel.",
        "",
        facts,
    )


def check_data(place: CheckedHost) -> Symptom:
    folder = nearest(place.data_dir)
    kind = _kind_of(place, folder)
    facts: dict[str, Fact] = {"kind": kind, "exists": is_folder(place.data_dir)}
    if os.path.lexists(place.data_dir) and not is_folder(place.data_dir):
        return Symptom(
            "wrong", f"{place.data_dir} is not a folder.", f"Type: mv {place.data_dir} {place.data_dir}.old", facts
        )
    if theirs := folders.not_ours(place.data_dir):
        return Symptom(
            "wrong", f"{place.data_dir} is not used: {theirs}.", "Type: deepseek-dashboard --data-dir FOLDER", facts
        )
    if kind in REMOTE:
        return Symptom("wrong", f"{place.data_dir} is on {kind}, where SQLite's locks are unreliable.", "Type: deepseek-dashboard --data-dir FOLDER on a local disk", facts)  # fmt: skip
    return Symptom(
        "ok",
        f"{place.data_dir} is on {kind or 'an unknown file system'}{'' if facts['exists'] else ', and not made yet'}.",
        "",
        facts,
    )


def _kind_of(place: CheckedHost, folder: Path) -> str:
    """`ext4`; "" where the mounts cannot be read."""
    try:
        return file_system_of(folder, place.proc / "self/mounts")
    except (OSError, ValueError):
        return ""


# The GPUs that NVML finds, and what it means that there are none.

NVIDIA, DISPLAY, ACCELERATED = "0x10de", "0x03", "0x0302"


def check_gpu(place: CheckedHost) -> Symptom:
    import pynvml as nvml  # the package nvidia-ml-py

    from collectors.machine.gpu import NOTES

    cards = _cards(place)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        sentence = NOTES.get(error.value, f"The NVIDIA driver answers {str(error)!r}.")
        facts = {"cards_on_the_bus": cards, "nvml_error": int(error.value)}
        if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            return Symptom("wrong", sentence, "Type: sudo reboot", facts)
        if not cards and not place.read("proc/driver/nvidia/version"):
            return _check_amd(place)
        return Symptom(
            "warning", f"{cards or 'some'} NVIDIA card(s) are there, but: {sentence}", _remedy(nvml, error.value), facts
        )
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        names: Counter[str] = Counter()
        lost = 0
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                names[_text(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(index)))] += 1
            except nvml.NVMLError:
                lost += 1
    finally:
        nvml.nvmlShutdown()
    said = ", ".join(f"{count} x {name}" for name, count in names.items()) or "no card"
    found: dict[str, Fact] = {
        "driver": driver,
        "cards": sum(names.values()),
        "lost": lost,
        "cards_on_the_bus": cards,
        "names": said,
    }
    if lost:
        return Symptom("warning", f"driver {driver}: {said}; {lost} do not answer.", "Type: nvidia-smi -q | grep -A3 'GPU is lost', then restart the machine", found)  # fmt: skip
    if not names:
        return Symptom("warning", f"driver {driver} shows no card to this process.", "Type: nvidia-smi -L; in a container start it with: docker run --gpus all ...", found)  # fmt: skip
    return Symptom("ok", f"driver {driver}: {said}.", "", found)


def _remedy(nvml: object, code: int) -> str:
    if code == getattr(nvml, "NVML_ERROR_LIBRARY_NOT_FOUND", None):
        return "Type: sudo apt-get install nvidia-driver-580 (or the driver of your distribution); in a container: docker run --gpus all ..."
    if code == getattr(nvml, "NVML_ERROR_NO_PERMISSION", None):
        return "Type: ls -l /dev/nvidiactl; the user must be in the group that owns it"
    return "Type: sudo modprobe nvidia; what it says stands in: sudo dmesg | tail"


def _check_amd(place: CheckedHost) -> Symptom:
    """Of a machine without NVIDIA's cards."""
    from collectors.machine.amd import devices_of, driver_of, folders_of, is_given, name_of

    devices = devices_of(place.root)
    if not devices:
        return Symptom(
            "ok",
            "no NVIDIA or AMD GPU found: the pages show the host.",
            "",
            {"cards_on_the_bus": 0},
        )
    given = [device for device in devices if is_given(device, place.root)]
    names = Counter(name_of(folders_of(device, place.root)) for device in given)
    said = ", ".join(f"{count} x {name}" for name, count in names.items())
    driver = driver_of(place.root)
    facts: dict[str, Fact] = {"driver": driver, "cards": len(given), "cards_on_the_bus": len(devices), "names": said}
    if not given:
        return Symptom("warning", f"this machine has {len(devices)} AMD card(s), but this process was given none.", "Start the container with: docker run --device=/dev/kfd --device=/dev/dri ...", facts)  # fmt: skip
    return Symptom("ok", f"driver {driver}: {said}.", "", facts)


def _cards(place: CheckedHost) -> int:
    """NVIDIA's display and 3D controllers on the PCI bus, whatever the driver says."""
    found = 0
    try:
        devices = list((place.root / "sys/bus/pci/devices").iterdir())
    except OSError:
        return 0
    for device in devices:
        where = f"sys/bus/pci/devices/{device.name}"
        found += place.read(f"{where}/vendor") == NVIDIA and place.read(f"{where}/class").startswith(DISPLAY)
    return found


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


# The kernel's limits on watched folders, and what this user's processes use of them.

LIMITS = "proc/sys/fs/inotify"
LOOK_S = 0.4
MARK = "anon_inode:inotify"


def check_inotify(place: CheckedHost) -> Symptom:
    limits = {
        name: _number(place.read(f"{LIMITS}/max_user_{name}")) for name in ("instances", "watches", "queued_events")
    }
    used, watches, whole = _used(place)
    facts = {
        **{f"max_{name}": limit for name, limit in limits.items()},
        "instances": used,
        "watches": watches,
        "all_seen": whole,
    }
    instances = limits["instances"]
    if instances is None:
        return Symptom("ok", "the limits of inotify are not known here; where it fails, folders are polled.", "", facts)
    said = f"{used} of {instances} instances and {watches} of {limits['watches'] or '?'} watches are used"
    if used >= instances:
        more = max(1024, 2 * instances)
        return Symptom("warning", f"{said}: another dashboard would poll its log folders.", f"Type: sudo sysctl fs.inotify.max_user_instances={more}", facts)  # fmt: skip
    if limits["watches"] is not None and watches >= limits["watches"]:
        more = max(524_288, 2 * watches)
        return Symptom("warning", f"{said}: log folders are polled.", f"Type: sudo sysctl fs.inotify.max_user_watches={more}", facts)  # fmt: skip
    return Symptom("ok", f"{said}.", "", facts)


def _used(place: CheckedHost) -> tuple[int, int, bool]:
    """Instances and watches of this user's processes, and whether all of them could be looked at in time."""
    instances = watches = 0
    until_s = time.monotonic() + LOOK_S
    try:
        processes = [name for name in os.listdir(place.proc) if name.isdigit()]  # noqa: PTH208
    except OSError:
        return 0, 0, False
    for pid in processes:
        if time.monotonic() > until_s:
            return instances, watches, False
        folder = place.proc / pid
        try:
            if folder.stat().st_uid != os.geteuid():
                continue
            names = os.listdir(folder / "fd")  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            try:
                if os.readlink(folder / "fd" / name) == MARK:  # noqa: PTH115  # it is no path
                    instances += 1
                    watches += (folder / "fdinfo" / name).read_text().count("inotify wd:")
            except OSError:
                continue
    return instances, watches, True


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


# Is the port free, and who holds it?

LISTENING = "0A"
PORT_LOOK_S = 0.3  # for the process that holds it


def check_port(place: CheckedHost) -> Symptom:
    facts = {"port": place.port}
    if not place.port:
        return Symptom("ok", "any free port will be taken.", "", facts)
    if address.port_of(place.data_dir) == place.port:
        return Symptom("ok", f"port {place.port} is that of the running dashboard of this folder.", "", facts)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", place.port))
        except PermissionError:
            return Symptom(
                "wrong", f"port {place.port} is for root only.", "Type: deepseek-dashboard --port 8080", facts
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return Symptom(
                    "wrong", f"port {place.port} cannot be used ({error.strerror}).", "Type: ip addr show lo", facts
                )
        else:
            return Symptom("ok", f"port {place.port} is free.", "", facts)
    other = place.port + 1 if place.port < 65535 else 8080
    sentence = f"port {place.port} is taken{_holder(place)}."
    return Symptom("wrong", sentence, f"Type: deepseek-dashboard --port {other}", facts)


def _holder(place: CheckedHost) -> str:
    """` by python3 (process 4127)`, ` by a process of anna`, or "" where it lies in another namespace."""
    found = dict(_listening(place))  # by inode, the uid
    until_s = time.monotonic() + PORT_LOOK_S
    sockets = {f"socket:[{inode}]" for inode in found}
    for entry in sorted(os.listdir(place.proc)) if found else ():  # noqa: PTH208
        if entry.isdigit() and time.monotonic() < until_s and not sockets.isdisjoint(_open_in(place, entry)):
            return f" by {program_of(int(entry), place.proc) or 'a process'} (process {entry})"
    return next((f" by a process of {user_of(uid)}" for uid in found.values()), "")


def _listening(place: CheckedHost) -> Iterator[tuple[str, int]]:
    for table in ("tcp", "tcp6"):
        for line in place.read(f"proc/net/{table}").splitlines()[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == place.port:
                yield words[9], int(words[7])


def _open_in(place: CheckedHost, pid: str) -> set[str]:
    """What the descriptors of a process are; nothing where it is another user's."""
    folder = place.proc / pid / "fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return set()
    found = set()
    for name in names:
        try:
            found.add(os.readlink(folder / name))  # noqa: PTH115  # it is no path
        except OSError:
            continue
    return found


# The dashboard that runs for the data folder, and how it is.

RUNNING_WITHIN_S = 1.0
MAX_BYTES = 1 << 20


def check_running(place: CheckedHost) -> Symptom:
    url = address.read_address(place.data_dir)
    writer = writer_of(place.data_dir)
    facts: dict[str, Fact] = {
        "collector": writer.version if isinstance(writer, Writer) else None,
        "dashboard": url is not None,
    }
    if isinstance(writer, UnreadableWriter):
        return Symptom(
            "warning", f"{writer.sentence}.", "Type: end that program, or choose another folder with --data-dir", facts
        )
    if url is None:
        if writer is None:
            return Symptom("ok", "no dashboard runs for this data folder.", "", facts)
        return Symptom("warning", f"a collector (process {writer.pid}) writes to the data folder, and no dashboard shows it.", "Type: deepseek-dashboard --log-dir FOLDER", facts)  # fmt: skip
    try:
        with _direct(url).open(f"{url}/healthz", timeout=RUNNING_WITHIN_S) as answer:
            health = json.loads(answer.read(MAX_BYTES))
        if not isinstance(health, dict):
            raise ValueError("what answers is no dashboard")
    except urllib.error.HTTPError as error:
        return Symptom("ok", f"a dashboard answers, and does not say how it is (HTTP {error.code}).", "", facts)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Symptom("wrong", f"the dashboard of this folder does not answer ({error}).", "Type: end it with Ctrl-C and start it again", facts)  # fmt: skip
    if "collectors" not in health:  # this process is not its user's, or asks through a tunnel
        facts["status"] = health.get("status")
        if health.get("status") != "ok":
            return Symptom("warning", "a dashboard runs and is degraded; it says why to its own user.", "Type: deepseek-dashboard doctor, as the user that runs it", facts)  # fmt: skip
        return Symptom("ok", "a dashboard runs and is well; it says more to its own user.", "", facts)
    failing = [f"{row['name']} is {row['state']}" for row in health.get("collectors", []) if row.get("state") != "ok"]
    problems = [*health.get("problems", []), *failing]
    facts |= {"status": health.get("status"), "cpu_pct": health.get("cpu_pct"), "rss_bytes": health.get("rss_bytes")}
    facts |= {f"problem {number}": str(problem) for number, problem in enumerate(problems[:10])}
    if health.get("status") != "ok" or problems:
        return Symptom("warning", f"a dashboard runs and is degraded: {problems[0] if problems else 'no collector answers'}", f"Type: curl -s{'k' if url.startswith('https') else ''} {url}/healthz", facts)  # fmt: skip
    return Symptom("ok", f"a dashboard runs and is well ({health.get('rss_bytes', 0) / 1e6:.0f} MB, {percent(health.get('cpu_pct', 0))} of a core).", "", facts)  # fmt: skip


def _direct(url: str) -> urllib.request.OpenerDirector:
    """Past the proxy of the environment, which would be a stranger to the dashboard. Its certificate has another name than the loopback
    address that our own file gives; no secret is sent there."""
    context = ssl.create_default_context()
    if url.startswith("https"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


# May this user sample another process? The right is tried on a process of the same user, of which nothing is read.

MAX_TRIED = 16


def check_sampler(place: CheckedHost) -> Symptom:
    native, pyspy = find_program() is not None, find_pyspy() is not None
    facts = {
        "native": native,
        "py_spy": pyspy,
        "ptrace_scope": place.read("proc/sys/kernel/yama/ptrace_scope") or None,
        "root": os.geteuid() == 0,
        "capabilities": _status(place, "CapEff"),
        "seccomp": _status(place, "Seccomp"),
    }
    samplers = " and ".join(name for name, there in (("the native sampler", native), ("py-spy", pyspy)) if there)
    if not samplers:
        return Symptom(
            "warning", "no stack sampler is installed: there are no flame graphs.", "Type: pip install py-spy", facts
        )
    refused = None
    for pid in _others(place):
        try:
            os.close(os.open(place.proc / str(pid) / "mem", os.O_RDONLY | os.O_CLOEXEC))
        except PermissionError:
            refused = pid
        except OSError:
            continue
        else:
            return _allowed(samplers, native, facts)
    if refused is None:
        return _by_the_rules(samplers, native, facts)
    trouble = refusal.trouble(refused, "The sampler", "permission denied")
    if trouble is None:
        return _by_the_rules(samplers, native, facts)
    return Symptom("warning", f"{trouble.sentence} Flame graphs will be missing.", f"Type: {trouble.remedy}", facts)


def _others(place: CheckedHost) -> Iterator[int]:
    """Processes of this user above this one, which may not be read where only descendants may."""
    mine, tried = os.geteuid(), 0
    for pid in ancestors(os.getpid(), place.proc):
        if uid_of(pid, place.proc) == mine and tried < MAX_TRIED:
            tried += 1
            yield pid


def _allowed(samplers: str, native: bool, facts: Mapping[str, Fact]) -> Symptom:
    if native:
        return Symptom("ok", f"{samplers} may read the processes of this user.", "", facts)
    remedy = "Type: sudo apt-get install gcc libc6-dev, then: make setup (or install the dashboard again)"
    return Symptom(
        "warning",
        "only py-spy is there, which costs five times as much: the native sampler was not built.",
        remedy,
        facts,
    )


def _by_the_rules(samplers: str, native: bool, facts: Mapping[str, Fact]) -> Symptom:
    """No process to try it on: what the kernel's settings say."""
    capable = bool(int(str(facts["capabilities"] or "0"), 16) & refusal.CAP_SYS_PTRACE)
    scope = str(facts["ptrace_scope"] or "0")
    if scope == "0" or (capable and scope != str(refusal.SCOPE_OF_NONE)):
        return _allowed(samplers, native, facts)
    sentence = f"ptrace_scope is {scope}: only programs that the dashboard has started can be sampled."
    return Symptom("warning", sentence, f"Type: {refusal.LOWER_SCOPE}; or {refusal.START_BELOW}", facts)


def _status(place: CheckedHost, name: str) -> str | None:
    lines = place.read("proc/self/status").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), None)


# The store of the data folder: its files, versions and sizes, and whether a quick look finds damage.

CHECK = "deepseek-dashboard store check"


def check_store(place: CheckedHost) -> Symptom:
    from collectors.store.engines import maintenance

    if not is_folder(place.data_dir):
        return Symptom("ok", f"there is no store yet; it will be below {nearest(place.data_dir)}.")
    files = maintenance(place.data_dir).glance(time.monotonic() + LOOK_S)
    facts: dict[str, Fact] = {}
    for file in files:
        facts[f"{file.name} bytes"], facts[f"{file.name} schema"] = file.size_bytes, file.schema
    if not files:
        return Symptom("ok", "the store is empty.", "", facts)
    said = f"{len(files)} files, {sum(file.size_bytes for file in files) / 1e6:.1f} MB"
    if troubles := [f"{file.name}: {file.trouble}" for file in files if file.trouble]:
        remedy = f"Type: {CHECK} --data-dir {place.data_dir}; move the file away, and the log folder is read again"
        return Symptom("wrong", f"{troubles[0]} ({len(troubles)} of {said}).", remedy, facts)
    if not all(file.whole for file in files):
        return Symptom(
            "ok", f"{said}; no damage in what could be looked at in {LOOK_S:g} s (all of it: {CHECK}).", "", facts
        )
    return Symptom("ok", f"{said}, undamaged tables.", "", facts)


# The versions of what takes part; packages are looked up, not imported.

NEEDED = ("dash", "plotly", "dash-ag-grid", "fastapi", "uvicorn", "numpy", "orjson", "psutil", "watchdog", "zstandard", "nvidia-ml-py", "py-spy")  # fmt: skip
OPTIONAL = ("torch", "mcp")
SHOWN = ("dash", "plotly", "torch")
MIN_PYTHON = (3, 11)


def check_versions(place: CheckedHost) -> Symptom:
    found = {name: _version(name) for name in (*NEEDED, *OPTIONAL)}
    kernel = os.uname().release
    facts = {"deepseek-dashboard": VERSION, "python": platform.python_version(), "kernel": kernel, "machine": os.uname().machine,
             "libc": " ".join(platform.libc_ver()), **found}  # fmt: skip
    missing = [name for name in NEEDED if found[name] is None]
    said = f"deepseek-dashboard {VERSION}, Python {platform.python_version()}, " + "".join(
        f"{name} {found[name]}, " if found[name] else f"no {name}, " for name in SHOWN
    )
    if sys.version_info < MIN_PYTHON:
        return Symptom("wrong", f"{said}Python 3.11 is needed.", "Type: python3.11 -m venv .venv", facts)
    if missing:
        return Symptom("wrong", f"{', '.join(missing)} is missing.", f"Type: pip install {' '.join(missing)}", facts)
    if not (ROOT / "assets" / "vendor").is_dir():
        return Symptom("wrong", "the browser's libraries were not fetched (assets/vendor/).", "Type: make setup", facts)
    return Symptom("ok", f"{said}kernel {kernel}.", "", facts)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# All checks of a place, a row each: `ok`, `warning` or `wrong`, what it means, and the remedy.

WITHIN_S = 5.0  # for all checks together: a driver or a network file system may hang
LIMIT = 600  # characters of a sentence


class Check(NamedTuple):
    name: str
    function: Callable[[CheckedHost], Symptom]


CHECKS = (
    Check("versions", check_versions),
    Check("sampler", check_sampler),
    Check("gpu", check_gpu),
    Check("log folder", check_logs),
    Check("data folder", check_data),
    Check("disk", check_disk),
    Check("store", check_store),
    Check("inotify", check_inotify),
    Check("clock", check_clock),
    Check("port", check_port),
    Check("dashboard", check_running),
)


class Diagnosis(NamedTuple):
    name: str
    symptom: Symptom


def diagnose(place: CheckedHost, checks: Sequence[Check] = CHECKS, within_s: float = WITHIN_S) -> list[Diagnosis]:
    """All checks at the same time, each in a thread of its own. One that fails or hangs is a warning of its row."""
    found: dict[str, Symptom] = {}

    def work(check: Check) -> None:
        found[check.name] = made(check, place)

    threads = [threading.Thread(target=work, args=(check,), name=check.name, daemon=True) for check in checks]
    until_s = time.monotonic() + within_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    late = Symptom(
        "warning",
        f"this was not answered within {within_s:g} s: a driver or a file system hangs.",
        "Type: sudo dmesg | tail",
    )
    return [Diagnosis(check.name, cleaned(found.get(check.name, late))) for check in checks]


def made(check: Check, place: CheckedHost) -> Symptom:
    try:
        return check.function(place)
    except Exception as error:  # whatever a host is like, it costs this row and no other
        return Symptom("warning", f"this could not be looked at ({type(error).__name__}: {error}).")


def cleaned(symptom: Symptom) -> Symptom:
    """Without secrets, the home folder as ~."""
    facts = {_plain(name): _plain(value) if isinstance(value, str) else value for name, value in symptom.facts.items()}
    return symptom._replace(sentence=_plain(symptom.sentence), remedy=_plain(symptom.remedy), facts=facts)


def verdict_of(rows: Sequence[Diagnosis]) -> Severity:
    return worst([row.symptom.verdict for row in rows])


def lines_of(rows: Sequence[Diagnosis]) -> list[str]:
    """One line each: `wrong    port         port 8080 is taken by nginx (process 7).  Type: deepseek-dashboard --port 8081`."""
    width = max(len(row.name) for row in rows)
    return [
        f"{symptom.verdict:<8} {name:<{width}}  {symptom.sentence}{f'  {symptom.remedy}' if symptom.remedy else ''}"
        for name, symptom in rows
    ]


def json_of(rows: Sequence[Diagnosis]) -> dict[str, Any]:
    checks = [{"name": name, **symptom._asdict()} for name, symptom in rows]
    return {"version": VERSION, "time_s": round(time.time(), 3), "verdict": verdict_of(rows), "checks": checks}


def _plain(text: str) -> str:
    line = " ".join(redacted(text.encode("utf-8", "replace").decode()).split())
    home = os.path.expanduser("~")  # noqa: PTH111  # `~` itself for a user without one
    if len(home) > 1:
        line = line.replace(home, "~")
    return line if len(line) <= LIMIT else f"{line[:LIMIT]}..."
