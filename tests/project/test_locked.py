"""requirements.lock has what requirements.txt asks for, with hashes, and docs/licences.md has its licences."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement

from tests.conftest import ROOT
from tests.licences import BESIDE, FREE, LOCK, LOCKED, PAGE, licences, locked, page

NO_WHEELS_OF_OURS = {"torch"}  # chosen by device


def asked() -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    found = [Requirement(line) for line in lines if line]
    found += [Requirement(line) for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]["custom"]["dependencies"]]  # fmt: skip
    return [requirement for requirement in found if requirement.name not in NO_WHEELS_OF_OURS]


def test_the_lock_has_every_requirement_in_a_version_that_it_allows() -> None:
    versions = locked()
    for requirement in asked():
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in versions, f"{name} is not in requirements.lock; type: make lock"
        assert all(map(requirement.specifier.contains, versions[name])), f"{name} {versions[name]}; type: make lock"


def test_each_package_has_hashes_and_no_place_that_it_was_fetched_from() -> None:
    text = LOCK.read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(LOCKED.findall(text)) >= 50
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]
    assert not re.search(r"://|--index|--find-links|file:|/opt|/home|/work", text)


def test_the_page_of_licences_is_that_of_what_is_installed() -> None:
    assert PAGE.read_text() == page(), "type: python -m tests.licences"


def test_every_licence_is_known_and_free() -> None:
    found = [*licences()]
    assert len(found) >= 50
    for package, licence in [*found, *((name, about[0]) for name, about in BESIDE.items())]:
        words = set(re.split(r" AND | OR |[()]", licence)) - {""}
        assert words and all(FREE.fullmatch(word.strip()) for word in words), f"{package}: {licence}"
