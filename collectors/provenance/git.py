"""The commit of a working folder and what differs from it, without running anything that the repository names.

A repository may be hostile: its configuration names programs (hooks, fsmonitor, filters, textconv, external diffs). git is therefore
given an empty repository with a configuration of ours, and only the objects, the index and the files of the one that is looked at.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..redaction import redacted

MOST_DIFF_BYTES = 1 << 20
MOST_FILE_BYTES = 1 << 20  # of a file of the repository's own that is read here
MOST_PARENTS = 64  # above the working folder
LOOK_S = 6.0  # for the whole look
KEPT_SETTINGS = (
    "core.filemode",
    "core.symlinks",
    "core.autocrlf",
    "core.eol",
    "core.ignorecase",
    "extensions.objectformat",
)
PLAIN = re.compile(r"[\w-]{1,20}")  # a value of these settings
COMMIT, REF = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?"), re.compile(r"refs/[\w./@+-]{1,400}")
SECRET_FILES = (
    ".env*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "id_*",
    "*secret*",
    "*credential*",
    ".netrc",
    ".pgpass",
    ".npmrc",
    ".pypirc",
)
LEFT_OUT = [f":(exclude,glob,icase)**/{name}" for name in SECRET_FILES]
CODE = (".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".cu", ".cuh", ".js", ".ts", ".rs", ".go", ".java")
SECTION = re.compile(r"^(?=diff --git )", re.MULTILINE)
UNREADABLE = "What differs from the commit cannot be read: {reason}."


class Checkout(NamedTuple):
    """What a folder's files come from; paths as we reach them."""

    top: Path
    own: Path  # .git, or the folder that a linked worktree has there
    common: Path  # .git of the main worktree


class GitState(NamedTuple):
    commit: str
    branch: str = ""  # "" where none is checked out
    dirty: bool | None = None  # None where it cannot be known
    diff: str = ""  # at most 1 MB, without secrets
    note: str = ""  # one sentence on what is missing


def look(folder: Path, root: str = "") -> GitState | None:
    """The state of the checkout that a folder lies in; None where there is none. `root` is put before absolute paths in its files."""
    deadline_s = time.monotonic() + LOOK_S
    checkout = checkout_of(folder, root)
    head = _head(checkout) if checkout else None
    if checkout is None or head is None:
        return None
    commit, branch = head
    if not (checkout.own / "index").is_file():
        return GitState(commit, branch, note=UNREADABLE.format(reason="there is no index"))
    try:
        data = _diff(checkout, commit, deadline_s)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return GitState(commit, branch, note=UNREADABLE.format(reason=str(error) or type(error).__name__))
    whole = len(data) <= MOST_DIFF_BYTES
    text = data[:MOST_DIFF_BYTES].decode("utf-8", "replace")
    text = text if whole else text[: text.rfind("\n") + 1]
    note = "" if whole else "The diff is longer than 1 MB; its beginning is kept."
    return GitState(commit, branch, bool(text), without_secrets(text), note)


def checkout_of(folder: Path, root: str = "") -> Checkout | None:
    """The checkout that the folder lies in."""
    for above in [folder, *folder.parents][:MOST_PARENTS]:
        entry = above / ".git"
        if entry.is_dir():
            return Checkout(above, entry, entry)
        if entry.is_file():
            own = _linked(above, _text(entry).removeprefix("gitdir:").strip(), root)
            common = _text(own / "commondir").strip()
            return Checkout(above, own, _linked(own, common, root) if common else own)
        if str(above) == (root or "/"):
            return None
    return None


def without_secrets(diff: str) -> str:
    """Of each file's part as its kind needs it: in a program a name is no secret, in a configuration it may be."""
    parts = SECTION.split(diff)
    return "".join(redacted(part, code=part.partition("\n")[0].rstrip('"').endswith(CODE)) for part in parts)


def _linked(folder: Path, path: str, root: str) -> Path:
    return Path(f"{root}{os.path.normpath(path)}") if path.startswith("/") else Path(os.path.normpath(folder / path))


def _head(checkout: Checkout) -> tuple[str, str] | None:
    """(commit, branch); None where nothing is committed."""
    head = _text(checkout.own / "HEAD").strip()
    if COMMIT.fullmatch(head):
        return head, ""
    ref = head.removeprefix("ref:").strip()
    if not REF.fullmatch(ref) or ".." in ref:
        return None
    branch = ref.removeprefix("refs/heads/")
    for folder in (checkout.own, checkout.common):
        commit = _text(folder / ref).strip()
        if COMMIT.fullmatch(commit):
            return commit, branch
    packed = (line.split(" ") for line in _text(checkout.common / "packed-refs").splitlines())
    return next(((words[0], branch) for words in packed if words[1:] == [ref] and COMMIT.fullmatch(words[0])), None)


def _text(file: Path) -> str:
    """The beginning of a regular file, "" where there is none."""
    try:
        if not file.is_file():
            return ""
        with file.open("rb") as opened:
            return opened.read(MOST_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _diff(checkout: Checkout, commit: str, deadline_s: float) -> bytes:
    """Bytes of `git diff HEAD`, a little more than are kept. Raises OSError, SubprocessError, ValueError."""
    with tempfile.TemporaryDirectory(prefix="deepseek-git-") as made:
        empty = Path(made)
        for name in ("objects", "refs"):
            (empty / name).mkdir()
        (empty / "HEAD").write_text(commit + "\n")
        (empty / "config").write_text(_config(checkout, empty, deadline_s))
        environment = {
            **_environment(empty),
            "GIT_DIR": str(empty),
            "GIT_WORK_TREE": str(checkout.top),
            "GIT_OBJECT_DIRECTORY": str(checkout.common / "objects"),
            "GIT_INDEX_FILE": str(checkout.own / "index"),
        }
        options = (
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--no-renames",
            "--ignore-submodules=all",
            "--src-prefix=a/",
        )
        command = [
            "git",
            "--no-optional-locks",
            "--no-pager",
            "diff",
            *options,
            "--dst-prefix=b/",
            commit,
            "--",
            ".",
            *LEFT_OUT,
        ]
        return _output(command, checkout.top, environment, deadline_s, MOST_DIFF_BYTES)


def _config(checkout: Checkout, empty: Path, deadline_s: float) -> str:
    """The repository's settings that say how its files are read, and none that names a program."""
    command = ["git", "config", "--file", str(checkout.common / "config"), "--no-includes", "--list", "-z"]
    given = dict(_settings(_output(command, empty, _environment(empty), deadline_s, MOST_FILE_BYTES)))
    kept = {name: given[name] for name in KEPT_SETTINGS if PLAIN.fullmatch(given.get(name, ""))}
    version = 1 if "extensions.objectformat" in kept else 0
    lines = [
        "[core]",
        f"repositoryformatversion = {version}",
        "bare = false",
        "fsmonitor = false",
        "hooksPath = /dev/null",
    ]
    for name, value in kept.items():
        section, _, key = name.partition(".")
        lines += [f"[{section}]", f"{key} = {value}"]
    return "\n".join(lines) + "\n"


def _settings(data: bytes) -> Iterator[tuple[str, str]]:
    for entry in data.decode("utf-8", "replace").split("\0"):
        name, _, value = entry.partition("\n")
        yield name, value


def _environment(home: Path) -> dict[str, str]:
    fixed = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_OPTIONAL_LOCKS": "0",
    }
    closed = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "", "LC_ALL": "C"}
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), **fixed, **closed}


def _output(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], deadline_s: float, most: int
) -> bytes:
    """What a command prints, up to one byte more than `most`; it is ended then, or when the time is over.

    Raises OSError, subprocess.TimeoutExpired, and ValueError with the first line of its errors where it failed.
    """
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen(command, cwd=folder, env=environment, **streams)  # type: ignore[call-overload]
    with child, selectors.DefaultSelector() as selector:
        try:
            said, errors = _both(child, selector, deadline_s, most)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        if len(said) > most:
            child.kill()
        elif child.wait():
            first = errors.decode("utf-8", "replace").strip().partition("\n")[0]
            raise ValueError(f"git says {first[:200]!r}")
    return said


def _both(
    child: subprocess.Popen[bytes], selector: selectors.BaseSelector, deadline_s: float, most: int
) -> tuple[bytes, bytes]:
    """The output and the first part of the errors, until both end or the output is too long."""
    assert child.stdout and child.stderr
    said, errors = bytearray(), bytearray()
    selector.register(child.stdout, selectors.EVENT_READ, said)
    selector.register(child.stderr, selectors.EVENT_READ, errors)
    while selector.get_map() and len(said) <= most:
        left_s = deadline_s - time.monotonic()
        ready = selector.select(left_s) if left_s > 0 else []
        if not ready:
            raise subprocess.TimeoutExpired("git", LOOK_S)
        for key, _ in ready:
            part = os.read(key.fd, 1 << 16)
            if not part:
                selector.unregister(key.fileobj)
            elif key.data is said or len(errors) < 4096:
                key.data.extend(part)
    return bytes(said[: most + 1]), bytes(errors)
