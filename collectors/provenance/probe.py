"""What ran: the configuration on a command line, the Git commit, and the versions of libraries."""

from __future__ import annotations

import json
import os
import re
import resource
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, NamedTuple, TypeAlias

from deepseek.log.redaction import LEFT_OUT as REDACTION_LEFT_OUT
from deepseek.log.redaction import is_option, is_secret, redacted
from deepseek.log.redaction import without_secrets as redaction_without_secrets

from ..machine.proc import PROC, PYTHON, command_of, environment_of, folder_of, printable, runs_python

Argument: TypeAlias = "str | int | float | bool | list[Argument] | None"

MAX_FIELDS, MAX_NAME, MAX_TEXT, MAX_ITEMS = (
    300,
    100,
    500,
    64,
)  # fields; characters; characters; values of one option
WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")  # options of Python itself
ENDS_OPTIONS = ("-m", "-c")  # the word behind it is the program, the rest are its own
NAMED = re.compile(r"(--?|[+~]{0,2})([A-Za-z_][\w./@-]*)=(.*)", re.DOTALL)
INTEGER, NUMBER = (
    re.compile(r"[+-]?\d{1,18}"),
    re.compile(r"[+-]?(\d++(?:\.\d*+)?|\.\d++)(e[+-]?\d{1,3})?", re.IGNORECASE),
)
WORDS: dict[str, bool | None] = {"true": True, "false": False, "none": None, "null": None}


def config_of(words: Sequence[str]) -> dict[str, Argument]:
    """Options and `name=value` of a command line without its secrets; dashes in names become underscores, as argparse does it.

    An option that is repeated has its last value.
    """
    found: dict[str, Argument] = {}
    for name, values in _options(own_words(words)):
        if len(found) >= MAX_FIELDS:
            break
        name = name.replace("-", "_")
        if len(name) <= MAX_NAME and not any(REDACTION_LEFT_OUT in value or len(value) > MAX_TEXT for value in values):
            typed: list[Argument] = [value_of(value) for value in values[:MAX_ITEMS]]
            found[name] = typed if len(typed) > 1 else typed[0] if typed else True
    return found


def own_words(words: Sequence[str]) -> Sequence[str]:
    """The program's own, without Python's and the name of the script."""
    if not words or not PYTHON.match(PurePath(words[0]).name):
        return words[1:]
    place = 1
    while place < len(words) and words[place].startswith("-") and words[place] != "-":
        if words[place] in ENDS_OPTIONS:
            return words[place + 2 :]
        place += 2 if words[place] in WITH_VALUE else 1
    return words[place + 1 :]


def value_of(text: str) -> Argument:
    """`"3e-4" -> 0.0003`, `"true" -> True`, `"adam" -> "adam"`."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if len(text) < 40 and NUMBER.fullmatch(text) else text


def _options(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each with its values; a word that no option is before is left out."""
    name: str | None = None
    values: list[str] = []
    for word in words:
        named = NAMED.fullmatch(word)
        if named is None and not is_option(word):
            values.append(word)
            continue
        if name is not None:
            yield name, values
        name, values = (None, []) if named else (word.lstrip("-"), [])
        if named:
            yield named[2], [named[3]]
    if name is not None:
        yield name, values


# The commit of a working folder and what differs from it, without running anything that the repository names.
#
# A repository may be hostile: its configuration names programs (hooks, fsmonitor, filters, textconv, external diffs). git is therefore
# given an empty repository with a configuration of ours, and only the objects, the index and the files of the one that is looked at.

MAX_DIFF_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 20  # of a file of the repository's own that is read here
MAX_PARENTS = 64  # above the working folder
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
    whole = len(data) <= MAX_DIFF_BYTES
    text = data[:MAX_DIFF_BYTES].decode("utf-8", "replace")
    text = text if whole else text[: text.rfind("\n") + 1]
    note = "" if whole else "The diff is longer than 1 MB; its beginning is kept."
    return GitState(commit, branch, bool(text), without_secrets(text), note)


def checkout_of(folder: Path, root: str = "") -> Checkout | None:
    """The checkout that the folder lies in."""
    for above in [folder, *folder.parents][:MAX_PARENTS]:
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
            return opened.read(MAX_FILE_BYTES).decode("utf-8", "replace")
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
        return _output(command, checkout.top, environment, deadline_s, MAX_DIFF_BYTES)


def _config(checkout: Checkout, empty: Path, deadline_s: float) -> str:
    """The repository's settings that say how its files are read, and none that names a program."""
    command = ["git", "config", "--file", str(checkout.common / "config"), "--no-includes", "--list", "-z"]
    given = dict(_settings(_output(command, empty, _environment(empty), deadline_s, MAX_FILE_BYTES)))
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


# The versions of the libraries that a Python process uses, from the folders that it imports from; nothing is imported into it.

KNOWN = frozenset(
    [
        "torch",
        "torchvision",
        "torchaudio",
        "triton",
        "numpy",
        "transformers",
        "accelerate",
        "datasets",
        "tokenizers",
        "peft",
        "trl",
        "diffusers",
        "lightning",
        "pytorch_lightning",
        "deepspeed",
        "megatron_core",
        "flash_attn",
        "transformer_engine",
        "apex",
        "xformers",
        "bitsandbytes",
        "vllm",
        "sglang",
        "jax",
        "jaxlib",
        "tensorflow",
        "keras",
        "torchtitan",
        "torchao",
        "ray",
    ]
)
DISTRIBUTION = re.compile(r"([A-Za-z0-9][\w.]*)-([\w.+!]+)\.(dist|egg)-info")  # torch-2.9.0+cu128.dist-info
OF_NVIDIA = re.compile(r"nvidia_(nccl|cuda_runtime|cudnn|cublas)(_cu\d+)?")
FOLDER = re.compile(rb"^[^/\n]*+((?>/[^\n]*?/(?:site|dist)-packages))/[^\n]*\.so", re.MULTILINE)  # in /proc/<pid>/maps
CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"]([\d.]+)['\"]", re.MULTILINE)
OF_PYTHON = re.compile(r"/(?:lib|lib64)/python(\d\.\d+)t?(?:/|$)")
VENV_VERSION = re.compile(r"^version(?:_info)?\s*=\s*(\d+\.\d+\.\d+)", re.MULTILINE)
DRIVER = re.compile(r"Kernel Module\s.*?\b(\d{3,}\.[\d.]+)")
MAX_MAPS_BYTES, MAX_TEXT_BYTES, MAX_ENTRIES = 8 << 20, 1 << 16, 20_000
PREFIXES = ("VIRTUAL_ENV", "CONDA_PREFIX")  # variables that name one


class Versions(NamedTuple):
    """`None` is what cannot be known."""

    python: str | None = None
    cuda: str | None = None  # that torch was built with
    nccl: str | None = None  # installed beside it
    libraries: Mapping[str, str] = {}


def versions_of(
    pid: int, interpreters: Sequence[str], environment: Mapping[str, str], root: str, proc: Path = PROC
) -> Versions:
    """Where two folders have a library, the first one counts. `interpreters` are paths where its Python may lie, none where it is another program;
    `root` is put before what the process names.
    """
    folders = list(
        dict.fromkeys(
            [
                *_mapped(proc / str(pid) / "maps"),
                *(_packages(pid, interpreters, environment, root, proc) if interpreters else []),
            ]
        )
    )
    found: dict[str, str] = {}
    with_torch: Path | None = None
    for folder in (Path(f"{root}{folder}") for folder in folders):
        here = dict(_distributions(folder))
        found = {**here, **found}
        if with_torch is None and (folder / "torch" / "version.py").is_file():
            with_torch = folder
    nvidia = {match[1]: version for name, version in found.items() if (match := OF_NVIDIA.fullmatch(name))}
    cuda = CUDA.search(_text_of(with_torch / "torch" / "version.py")) if with_torch else None
    libraries = {name: version for name, version in sorted(found.items()) if name in KNOWN or OF_NVIDIA.fullmatch(name)}
    python = next((version for folder in folders if (version := _python_of(folder, root))), None)
    return Versions(python, cuda[1] if cuda else nvidia.get("cuda_runtime"), nvidia.get("nccl"), libraries)


def driver_version(proc: Path = PROC) -> str | None:
    """Of the NVIDIA driver that is loaded, where there is one."""
    found = DRIVER.search(_text_of(proc / "driver" / "nvidia" / "version"))
    return found[1] if found else None


def _mapped(maps: Path) -> list[str]:
    """The folders that it has loaded libraries from: the truth, where it has loaded any."""
    try:
        with maps.open("rb") as opened:
            data = opened.read(MAX_MAPS_BYTES)
    except OSError:
        return []
    return list(dict.fromkeys(folder.decode("utf-8", "replace") for folder in FOLDER.findall(data)))


def _packages(
    pid: int, interpreters: Sequence[str], environment: Mapping[str, str], root: str, proc: Path
) -> Iterator[str]:
    """Where such a Python looks for packages."""
    there = next((path for path in interpreters if os.path.lexists(f"{root}{path}")), None)
    prefixes = [str(Path(there).parent.parent)] if there else []
    prefixes += [environment[name] for name in PREFIXES if environment.get(name, "").startswith("/")]
    with suppress(OSError):
        prefixes.append(str((proc / str(pid) / "exe").readlink().parent.parent))
    for prefix in dict.fromkeys(prefixes):
        for pattern in ("lib/python3*/site-packages", "lib/python3*/dist-packages", "local/lib/python3*/dist-packages"):
            yield from (str(path).removeprefix(root) for path in islice(Path(f"{root}{prefix}").glob(pattern), 8))


def _distributions(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        names = [entry.name for entry in islice(folder.iterdir(), MAX_ENTRIES)]
    except OSError:
        return
    for name in names:
        if match := DISTRIBUTION.fullmatch(name):
            yield match[1].lower().replace(".", "_"), match[2]


def _python_of(folder: str, root: str) -> str | None:
    """`/venv/lib/python3.11/site-packages` -> what its pyvenv.cfg says, else `3.11`."""
    found = OF_PYTHON.search(folder)
    if found is None:
        return None
    said = VENV_VERSION.search(_text_of(Path(f"{root}{folder[: found.start()]}") / "pyvenv.cfg"))
    return said[1] if said and said[1].startswith(found[1]) else found[1]


def _text_of(file: Path) -> str:
    try:
        if not file.is_file():
            return ""
        with file.open("rb") as opened:
            return opened.read(MAX_TEXT_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


# Look at one process and print what ran as JSON: `python -m collectors.provenance.probe 4127`.
#
# A process of its own, with the rights of the process's user, at the lowest priority: a file system that hangs, a hostile repository or an
# odd library folder costs only this look. Standard library only.

ALLOWED = ("CUDA_", "NCCL_", "TORCH_", "SLURM_")  # variables that begin so
MAX_ARGUMENTS = 16_000  # characters of all of them
MAX_VARIABLES, MAX_VALUE = 200, 500  # of variables: how many, and characters of each
MAX_PATH = 50  # entries of PATH
LIMITS = {resource.RLIMIT_CPU: 10, resource.RLIMIT_AS: 8 << 30, resource.RLIMIT_FSIZE: 8 << 20, resource.RLIMIT_CORE: 0}


def main() -> int:
    pid = int(sys.argv[1])
    os.nice(19)
    for limit, most in LIMITS.items():
        resource.setrlimit(limit, (most, most))
    become_user_of(pid)
    sys.stdout.write(json.dumps(found_of(pid)))
    return 0


def become_user_of(pid: int, proc: Path = PROC) -> None:
    """Give up root's rights for good where the process is another user's; its files are then read as that user."""
    if os.geteuid() != 0:
        return
    rows = dict(line.split(":", 1) for line in (proc / str(pid) / "status").read_text().splitlines() if ":" in line)
    uid, gid = (int(rows[name].split()[1]) for name in ("Uid", "Gid"))
    if uid:
        os.setgroups([int(group) for group in rows["Groups"].split()])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def found_of(pid: int, proc: Path = PROC) -> dict[str, Any]:
    """All that is known of it, without secrets; what is not known is absent."""
    words = redaction_without_secrets(command_of(pid, proc))
    environment = environment_of(pid, proc)
    root, folder = root_of(pid, proc), folder_of(pid, proc)
    interpreters = interpreters_of(words, folder, environment) if runs_python(pid, proc) else []
    versions = versions_of(pid, interpreters, environment, root, proc)
    state = look(Path(f"{root}{folder}"), root) if folder else None
    found: dict[str, Any] = {
        "argv": bounded(words),
        "cwd": printable(folder),
        "config": config_of(words),
        "environment": variables_of(environment),
        "python": versions.python,
        "torch": versions.libraries.get("torch"),
        "cuda": versions.cuda,
        "nccl": versions.nccl,
        "driver": driver_version(proc),
        "versions": dict(versions.libraries),
    }
    if state is not None:
        found |= {
            "git_commit": state.commit,
            "git_branch": state.branch,
            "git_dirty": state.dirty,
            "git_note": state.note,
        }
        found["diff"] = state.diff
    return {name: value for name, value in found.items() if value not in (None, "", {}, [])}


def interpreters_of(words: list[str], folder: str, environment: dict[str, str]) -> list[str]:
    """Where the first word of a command line may lie, as paths: Python finds its packages by it, without following links."""
    first = words[0] if words else ""
    if "/" in first:
        return [os.path.normpath(first if first.startswith("/") else f"{folder}/{first}")]
    return [
        f"{entry}/{first}"
        for entry in environment.get("PATH", "").split(":")[:MAX_PATH]
        if first and entry.startswith("/")
    ]


def root_of(pid: int, proc: Path = PROC) -> str:
    """What is put before the paths of a process that has another view of the file system, as in a container."""
    try:
        same = (proc / str(pid) / "ns/mnt").stat().st_ino == (proc / "self/ns/mnt").stat().st_ino
        own_root = (proc / str(pid) / "root").readlink() == (proc / "self/root").readlink()
    except OSError:
        return ""
    return "" if same and own_root else f"{proc}/{pid}/root"


def variables_of(environment: dict[str, str]) -> dict[str, str]:
    """Of the allowed ones, those that are no secrets by their name or their value."""
    allowed = [name for name in sorted(environment) if name.startswith(ALLOWED) and not is_secret(name)]
    kept = {name: redacted(environment[name])[:MAX_VALUE] for name in allowed[:MAX_VARIABLES]}
    return {printable(name): printable(value) for name, value in kept.items() if REDACTION_LEFT_OUT not in value}


def bounded(words: list[str]) -> list[str]:
    """The first ones, then `...`."""
    kept: list[str] = []
    length = 0
    for word in words:
        length += len(word) + 1
        if length > MAX_ARGUMENTS:
            return [*kept, "..."]
        kept.append(word)
    return kept
