"""The file systems of the log folder and of the data folder, and whether the kernel reports changes there."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from collectors.mounts import REMOTE, file_system_of
from collectors.service import folders

from .place import CheckedHost, Fact, Symptom, is_folder, nearest, worst

IN_MODIFY = 0x2


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
    kind, watched = _kind(place, folder), _is_watched(folder)
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
    kind = _kind(place, folder)
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


def _kind(place: CheckedHost, folder: Path) -> str:
    """`ext4`; "" where the mounts cannot be read."""
    try:
        return file_system_of(folder, place.proc / "self/mounts")
    except (OSError, ValueError):
        return ""


def _is_watched(folder: Path) -> bool:
    """Whether a watch can be set, which is removed at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        return False
    try:
        return int(libc.inotify_add_watch(descriptor, os.fsencode(folder), IN_MODIFY)) >= 0
    finally:
        os.close(descriptor)
