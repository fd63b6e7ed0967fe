"""RunLog's whole tests on the Pythons and with the numpys of those who train, each with an environment of its own.

make test-integrations
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import dashboard
from tests.integrations.environment import SKIPPED, UNREACHABLE, plain_environment
from tests.interpreters import RUN_LOGS, Interpreter, interpreters
from tests.support.logged import COUNT, write_logs
from tests.support.running import ROOT, wait_for

LOG_WHEEL = ROOT / "deepseek-log"
PLACE = ROOT / ".integrations" / "pythons"
TESTS = (
    "deepseek_log/test_run_log",
    "deepseek_log/test_log_file",
    "deepseek_log/test_phases",
    "deepseek_log/test_ptracer",
)
ENVIRONMENTS = (((3, 9), "1.26"), ((3, 10), "1.26"), ((3, 10), "2"), ((3, 14), "2"))
BEFORE_3_11 = (
    "exceptiongroup",
    "tomli",
    "typing-extensions",
)  # of pytest: pip asks its own Python whether they are needed
INSTALL_WITHIN_S = 90.0
NOTEBOOK = """
import sys
from deepseek.client import Dashboard, DashboardError, open_logs

dashboard = Dashboard(sys.argv[1])
print(len(dashboard.runs()))
run = "group/a"
assert dashboard.points(run, ["train/loss", "other"], axis="step").shape[1] == 2
assert str(dashboard.points(run, "other").index.tz) == "UTC"
assert 0 < len(dashboard.curves(run, "other", buckets=7)) <= 8 and len(dashboard.curves([run], "other"))
assert len(dashboard.logs(run, level="error")) <= len(dashboard.logs(run)) and len(dashboard.events(run))
assert dashboard.flame(run).top(3) is not None and dashboard.blame(run).sentence and dashboard.ledger(run).rows is not None
assert len(dashboard.series(run)) and len(dashboard.files(run)) and dashboard.health().status and len(dashboard.settings())
try:
    open_logs("logs")
except DashboardError as error:
    assert "is not installed in this environment or on the PATH" in str(error), error
else:
    raise AssertionError("there is no dashboard to start")
"""


def python(version: tuple[int, int]) -> Interpreter:
    found = [one for one in interpreters(RUN_LOGS) if one.version[:2] == version]
    if not found:
        pytest.skip("there is no Python {}.{} here".format(*version))
    return found[0]


def packages(version: tuple[int, int], name: str, *wanted: str) -> Path:
    """A folder with packages for that Python. Some Pythons have no pip, so this one's installs them."""
    folder = PLACE / "{}.{}-{}".format(*version, name)
    if (folder / "stamp").exists():
        return folder
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--quiet",
        "--upgrade",
    ]
    command += ["--timeout", "10", "--retries", "1", "--target", str(folder), "--only-binary", ":all:"]
    command += ["--python-version", "{}.{}".format(*version), *wanted]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, env=plain_environment()
        )
    except subprocess.TimeoutExpired:
        pytest.skip(SKIPPED)
    if done.returncode and any(word in done.stderr + done.stdout for word in UNREACHABLE):
        pytest.skip(SKIPPED)
    assert done.returncode == 0, done.stderr
    (folder / "stamp").touch()
    return folder


def with_numpy(version: tuple[int, int], numpy: str) -> Path:
    return packages(
        version, f"numpy{numpy}", "pytest", f"numpy=={numpy}.*", *(BEFORE_3_11 if version < (3, 11) else ())
    )


@pytest.mark.parametrize("version", [(3, 9), (3, 13)], ids=lambda value: ".".join(map(str, value)))
def test_the_client_asks_a_dashboard_from_where_people_have_their_notebooks(
    version: tuple[int, int], tmp_path: Path
) -> None:
    """From the files of deepseek-log alone, with the oldest and the newest pandas that it allows."""
    interpreter = python(version)
    pandas = "pandas==2.0.*" if version == (3, 9) else "pandas>=3,<4"
    extra = ["numpy<2"] if version == (3, 9) else []
    place = packages(version, "pandas", pandas, *extra)
    shutil.copytree(LOG_WHEEL / "deepseek", tmp_path / "deepseek")  # in the checkout the client finds its dashboard
    write_logs(tmp_path / "logs")
    with dashboard(tmp_path / "logs", "--no-profile") as running:
        wait_for(lambda: len(running.get("/api/v1/runs")["runs"]) == COUNT)
        environment = {**plain_environment(), "PYTHONPATH": os.pathsep.join([str(tmp_path), str(place)])}
        done = subprocess.run(
            [interpreter.path, "-c", NOTEBOOK, running.address],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == str(COUNT)


@pytest.mark.parametrize(
    ("version", "numpy"), ENVIRONMENTS, ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value))
)
def test_run_log_passes_its_tests_where_people_train(version: tuple[int, int], numpy: str, tmp_path: Path) -> None:
    """Without this project's configuration of pytest, which is for this project's Python."""
    interpreter = python(version)
    environment = {
        **plain_environment(),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, LOG_WHEEL, with_numpy(version, numpy)))),
    }
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [
        interpreter.path,
        "-m",
        "pytest",
        "-q",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-c",
        str(tmp_path / "pytest.ini"),
    ]
    command += [f"--rootdir={ROOT}", f"--basetemp={tmp_path / 'tests'}", *(f"tests/{name}.py" for name in TESTS)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    imported = subprocess.run(
        [interpreter.path, "-c", "import numpy; print(numpy.__version__)"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert imported.stdout.startswith(f"{numpy}."), imported.stderr
    assert "passed" in done.stdout
