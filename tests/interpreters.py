"""The CPythons of this machine that the native sampler knows, or RunLog: each minor version's tests run against each of them.

`python -m tests.interpreters` fetches those that it lacks and a later suite of Debian has, into `.pythons/`; nothing is installed.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

KNOWN = ((3, 11), (3, 12), (3, 13), (3, 14))
RUN_LOGS = ((3, 9), (3, 10), *KNOWN)
SUITES = {(3, 14): "forky"}  # where Debian has it
PACKAGES = ("python{0}-minimal", "libpython{0}-minimal", "libpython{0}-stdlib", "libpython{0}-dev")
FETCHED = Path(__file__).parents[1] / ".pythons"
FETCH_WITHIN_S = 14.0  # update and download, each; they take 3 s where the registry answers
ASK = "import json, sys, sysconfig\nprint(json.dumps([list(sys.version_info[:3]), sys.executable, sysconfig.get_path('include'), sys.implementation.name]))"


class Interpreter(NamedTuple):
    version: tuple[int, int, int]
    path: str
    include: Path  # the folder of its headers, which may not be there

    @property
    def name(self) -> str:
        return ".".join(map(str, self.version))


@functools.lru_cache(maxsize=2)
def interpreters(known: tuple[tuple[int, int], ...] = KNOWN) -> list[Interpreter]:
    """One for each version, this one first: on the PATH, those of pyenv, and those that were fetched."""
    names = [f"python{major}.{minor}" for major, minor in known]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    paths = [
        sys.executable,
        *(shutil.which(name) or "" for name in names),
        "/usr/bin/python3",
        *map(str, pyenv.glob("*/bin/python3")),
        *(str(FETCHED / name / "usr/bin" / name) for name in names),
    ]
    found = {one.version: one for path in reversed(paths) if (one := _asked(path, known))}
    return sorted(found.values(), key=lambda one: one.path != sys.executable)


def every_python(known: tuple[tuple[int, int], ...] = KNOWN, *, few: bool = False) -> pytest.MarkDecorator:
    """Runs a test with each of them as its `python`; a minor version that is not here is skipped by name.

    Where it takes seconds each, `few` leaves those between this one and the newest to `make test-long`."""
    skipped = [
        pytest.param(
            None,
            id=f"{major}.{minor}",
            marks=pytest.mark.skip(
                f"there is no Python {major}.{minor} here (python -m tests.interpreters fetches 3.14 from Debian)"
            ),
        )
        for major, minor in _missing(known)
    ]
    return pytest.mark.parametrize("python", [*_here(known, few), *skipped])


def _here(known: tuple[tuple[int, int], ...], few: bool) -> list[Any]:
    """A second patch of the same minor version is for `make test-long`: what differs between them is rarely known to the sampler."""
    seen: set[tuple[int, ...]] = set()
    found = []
    here = interpreters(known)
    ends = {*here[:1], *sorted(here, key=lambda one: one.version)[-1:]}
    for one in here:
        later = one.version[:2] in seen or (few and one not in ends)
        seen.add(one.version[:2])
        found.append(pytest.param(one, id=one.name, marks=pytest.mark.long if later else ()))
    return found


def _missing(known: tuple[tuple[int, int], ...] = KNOWN) -> list[tuple[int, int]]:
    here = {one.version[:2] for one in interpreters(known)}
    return [version for version in known if version not in here]


def _asked(path: str, known: tuple[tuple[int, int], ...]) -> Interpreter | None:
    if not path or not Path(path).exists():
        return None
    if not (said := _answer_of(path)):  # a shim of pyenv without a version behind it
        return None
    version, executable, include, implementation = json.loads(said)
    if tuple(version[:2]) not in known or implementation != "cpython":
        return None
    major, minor, micro = version
    return Interpreter((major, minor, micro), executable, Path(include))


@functools.cache
def _answer_of(path: str) -> str:
    done = subprocess.run([path, "-I", "-c", ASK], capture_output=True, text=True)
    return "" if done.returncode else done.stdout


class FetchError(Exception):
    """An interpreter cannot be had here; the text is one sentence."""


def fetch(version: tuple[int, int]) -> None:
    """With apt lists and a cache of its own. Raises FetchError."""
    name = "python{}.{}".format(*version)
    scratch = FETCHED / f"{name}.{os.getpid()}"
    try:
        for folder in ("lists/partial", "archives/partial", "root"):
            (scratch / folder).mkdir(parents=True)
        (scratch / "sources.list").write_text(_source(SUITES[version]))
        _apt(scratch, "update")
        _apt(scratch, "download", *(package.format(name.removeprefix("python")) for package in PACKAGES))
        for package in scratch.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, scratch / "root"], check=True)
        (scratch / "root").replace(FETCHED / name)
    except (OSError, subprocess.SubprocessError) as error:
        raise FetchError(
            f"Python {version[0]}.{version[1]} cannot be fetched, its tests are skipped: {_said(error)}"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _source(suite: str) -> str:
    """This machine's own Debian mirror, at another suite."""
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI) $(COMPONENT) [signed-by=$(SIGNED_BY)]",
        "Created-By: Packages",
    ]
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        mirror, component, signed_by = line.split(" ", 2)
        if mirror.endswith("/debian/") and component == "main":
            return f"deb {signed_by if '/' in signed_by else ''} {mirror} {suite} main\n"
    raise OSError("this machine has no mirror of Debian among its apt sources")


def _apt(scratch: Path, *words: str) -> None:
    options = {
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch,
        "APT::Sandbox::User": "root",  # else root's folders are closed to apt's own user
        "Acquire::Languages": "none",
        "Acquire::Retries": 0,
        "Acquire::http::Timeout": 5,
        "APT::Update::Error-Mode": "any",
    }
    settings = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    subprocess.run(
        ["apt-get", "-q", *settings, *words],
        cwd=scratch,
        capture_output=True,
        text=True,
        check=True,
        timeout=FETCH_WITHIN_S,
    )


def _said(error: Exception) -> str:
    """What apt said, by its own first error."""
    lines = (getattr(error, "stderr", None) or "").splitlines()
    return next((line for line in lines if line.startswith("E: ")), str(error))


if __name__ == "__main__":
    for wanted in set(_missing()) & SUITES.keys():
        try:
            fetch(wanted)
        except FetchError as error:
            print(error, file=sys.stderr)
