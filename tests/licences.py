"""`python -m tests.licences` writes docs/licences.md: the licence of each package that requirements.lock names, as its metadata says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import NamedTuple

from tests.conftest import ROOT

LOCK, PAGE = ROOT / "requirements.lock", ROOT / "docs" / "licences.md"
LOCKED = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)
BESIDE = {"uPlot": ("MIT", "https://github.com/leeoniya/uPlot"), "torch": ("BSD-3-Clause", "https://pytorch.org")}
SPDX = {  # what older metadata say, in the words of today's
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Dual License": "Apache-2.0 OR BSD-3-Clause",
    "Python Software Foundation License": "PSF-2.0",
}
FREE = re.compile(
    r"MIT|MIT-0|BSD-[23]-Clause|Apache-2\.0|ISC|PSF-2\.0|MPL-2\.0|CNRI-Python|0BSD|Zlib|CC0-1\.0|Unlicense"
)
LONG = 60  # a text in place of a name
HEAD = """# Licences

The licences of the packages in `requirements.lock`, as their own metadata state them; `make lock` or `python -m tests.licences` writes this page, and
`tests/project/test_locked.py` fails if an installed package differs. Ours is MIT (`LICENSE`).

| licence | packages |
|---|---|
"""
FOOT = """
Also: {beside}. They are fetched from where they are published; none is copied into this repository. Only the demo's trainer needs torch.
"""


class Licensed(NamedTuple):
    package: str
    licence: str


def locked() -> dict[str, list[str]]:
    """The versions of each package in the lock: more than one where they depend on the Python."""
    found: dict[str, list[str]] = {}
    for name, version, _ in LOCKED.findall(LOCK.read_text()):
        found.setdefault(name, []).append(version)
    return found


def licences() -> Iterator[Licensed]:
    """Of those that are installed here."""
    for name in locked():
        try:
            yield Licensed(name, licence_of(distribution(name)))
        except PackageNotFoundError:
            continue


def licence_of(package: Distribution) -> str:
    """An SPDX expression, from the newest of the three fields that packages use."""
    about = package.metadata
    if named := about.get("License-Expression"):
        return str(named)
    classified = [
        str(row).rpartition(" :: ")[2]
        for row in about.get_all("Classifier") or []
        if str(row).startswith("License :: ")
    ]
    classified = [row for row in classified if row != "OSI Approved"]
    said = str(about.get("License") or "")
    name = said if 0 < len(said) <= LONG and "\n" not in said else " OR ".join(classified)
    return SPDX.get(name, name) or "unknown"


def page() -> str:
    packages: dict[str, list[str]] = {}
    for package, licence in licences():
        packages.setdefault(licence, []).append(package)
    rows = "".join(f"| {licence} | {', '.join(named)} |\n" for licence, named in sorted(packages.items()))
    beside = ", ".join(f"[{name}]({where}) ({licence})" for name, (licence, where) in BESIDE.items())
    return HEAD + rows + FOOT.format(beside=beside)


def main() -> int:
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
