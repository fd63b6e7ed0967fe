"""RunLog's whole tests on the Pythons and with the numpys of those who train, each with an environment of its own.

make test-integrations
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.environment import SKIPPED, UNREACHABLE, plain_environment
from tests.interpreters import RUN_LOGS, Interpreter, interpreters
from tests.running import ROOT

PLACE = ROOT / ".integrations" / "pythons"
TESTS = ("test_run_log", "test_log_file", "test_phases", "test_ptracer")
ENVIRONMENTS = (((3, 9), "1.26"), ((3, 10), "1.26"), ((3, 10), "2"), ((3, 14), "2"))
BEFORE_3_11 = ("exceptiongroup", "tomli", "typing-extensions")  # of pytest: pip asks its own Python whether they are needed
INSTALL_WITHIN_S = 90.0


def python(version: tuple[int, int]) -> Interpreter:
    found = [one for one in interpreters(RUN_LOGS) if one.version[:2] == version]
    if not found:
        pytest.skip("there is no Python {}.{} here".format(*version))
    return found[0]


def packages(version: tuple[int, int], numpy: str) -> Path:
    """A folder with pytest and numpy for that Python: some of them have no pip, so that this one's installs."""
    folder = PLACE / "{}.{}-numpy{}".format(*version, numpy)
    if (folder / "stamp").exists():
        return folder
    wanted = ["pytest", f"numpy=={numpy}.*", *(BEFORE_3_11 if version < (3, 11) else ())]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--upgrade"]
    command += ["--timeout", "10", "--retries", "1", "--target", str(folder), "--only-binary", ":all:"]
    command += ["--python-version", "{}.{}".format(*version), *wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, env=plain_environment())
    except subprocess.TimeoutExpired:
        pytest.skip(SKIPPED)
    if done.returncode and any(word in done.stderr + done.stdout for word in UNREACHABLE):
        pytest.skip(SKIPPED)
    assert done.returncode == 0, done.stderr
    (folder / "stamp").touch()
    return folder


@pytest.mark.parametrize(
    ("version", "numpy"), ENVIRONMENTS, ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value))
)
def test_run_log_passes_its_tests_where_people_train(version: tuple[int, int], numpy: str, tmp_path: Path) -> None:
    """Without this project's configuration of pytest, which is for this project's Python."""
    interpreter = python(version)
    environment = {**plain_environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), str(packages(version, numpy))])}
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [interpreter.path, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", "-c", str(tmp_path / "pytest.ini")]
    command += [f"--rootdir={ROOT}", f"--basetemp={tmp_path / 'tests'}", *(f"tests/{name}.py" for name in TESTS)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    imported = subprocess.run(
        [interpreter.path, "-c", "import numpy; print(numpy.__version__)"], env=environment, capture_output=True, text=True
    )
    assert imported.stdout.startswith(f"{numpy}."), imported.stderr
    assert "passed" in done.stdout
