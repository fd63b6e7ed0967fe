"""docs/operations.md: its commands work, its unit is one, and the lines of its Dockerfile are known."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from collectors.records import Offset, Points, labels_of
from collectors.store.engines import maintenance, open_store
from collectors.store.sqlite import files
from collectors.store.store import series_id
from dashboard.commands import COMMANDS
from tests.conftest import ROOT

EXAMPLES = ROOT / "docs" / "examples"
PAGE = (ROOT / "docs" / "operations.md").read_text()
HOST = labels_of(host="box")
LOSS, UTIL = series_id("a", "loss", HOST), series_id(None, "gpu/util", HOST)
START_S = 1_764_000_000.0
KNOWN = {"FROM", "RUN", "COPY", "ARG", "USER", "WORKDIR", "EXPOSE", "ENTRYPOINT", "CMD"}


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "app.py"), *words], capture_output=True, text=True, timeout=120)


def test_a_backup_made_while_the_collector_writes_is_whole_and_goes_on_from_its_offset(tmp_path: Path) -> None:
    data_dir, target = tmp_path / "data", tmp_path / "copy"
    store, ending = open_store(data_dir, write=True), threading.Event()
    (data_dir / "runs").mkdir()
    (data_dir / "runs" / "a.yaml").write_text("note: mine\n")
    (data_dir / "settings.yaml").write_text("currency: EUR\n")
    (data_dir / "writer.lock").write_text("{}")
    os.mkfifo(data_dir / "odd")

    def write() -> None:
        at = 0
        while not ending.is_set():
            rows = [Points("a", HOST, ("loss",), (float(step),), START_S + step, step) for step in range(at, at + 50)]
            at += 50
            store.append([*rows, Offset("a/m.jsonl", "a", 1, 2, at, at, 0, 0, "", {}), Points(None, HOST, ("gpu/util",), (1.0,), START_S + at, None)])  # fmt: skip
            store.compact(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = command("store", "backup", "--data-dir", str(data_dir), "--to", str(target))
    finally:
        ending.set()
        writer.join()
        store.close()
    assert (done.returncode, done.stderr) == (0, "") and "was copied to" in done.stdout
    assert {path.name for path in target.iterdir()} == {
        "runs.sqlite",
        files.week_file(START_S),
        "runs",
        "settings.yaml",
    }
    assert (target / "runs" / "a.yaml").read_text() == "note: mine\n" and target.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o777 for path in target.glob("*.sqlite")} == {0o600}

    shutil.copytree(target, tmp_path / "checked")
    assert maintenance(tmp_path / "checked").check() == []
    shutil.move(data_dir, tmp_path / "gone")  # restore
    shutil.copytree(target, data_dir)
    restored, first = open_store(data_dir, write=True), open_store(tmp_path / "gone", write=False)
    kept = restored.offsets()["a/m.jsonl"].offset
    points, original = restored.points([LOSS], None, None)[LOSS], first.points([LOSS], None, START_S + kept - 1)[LOSS]
    assert kept == len(points.value) > 0, "what was read after that is read again"
    np.testing.assert_array_equal(points.value, original.value)
    assert restored.append([Points("a", HOST, ("loss",), (7.0,), START_S + kept, kept)])
    restored.close()
    first.close()


def test_a_backup_needs_a_new_folder(tmp_path: Path) -> None:
    open_store(tmp_path / "data", write=True).close()
    for words in ([], ["--to", str(tmp_path)]):
        done = command("store", "backup", "--data-dir", str(tmp_path / "data"), *words)
        assert done.returncode == 2 and "--to" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", ["deepseek-dashboard", "deepseek-jobs"])
def test_the_unit_is_one(tmp_path: Path, name: str) -> None:
    text = (EXAMPLES / f"{name}.service").read_text()
    program = re.search(r"ExecStart=(\S+)", text)
    assert program
    unit = tmp_path / f"{name}.service"
    unit.write_text(text.replace(program[1], "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--user", str(unit)], capture_output=True, text=True, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})  # fmt: skip
    said = [line for line in done.stderr.splitlines() if name in line]
    assert said == [] and done.returncode == 0, done.stderr


def test_the_flags_of_unit_and_image_exist() -> None:
    flags = set(COMMANDS.parser(COMMANDS.command("serve"))._option_string_actions)
    unit = re.search(r"ExecStart=\S+ (.*)", (EXAMPLES / "deepseek-dashboard.service").read_text())
    image = re.search(r"^CMD (.*)$", (EXAMPLES / "Dockerfile").read_text(), re.MULTILINE)
    assert unit and image
    for words in (shlex.split(unit[1]), json.loads(image[1])):
        assert {word for word in words if word.startswith("--")} <= flags


def test_a_unit_of_the_queue_does_not_end_its_jobs() -> None:
    """They are in its control group: with systemd's usual settings a new start of the daemon, or one job out of memory, ends all."""
    lines = (EXAMPLES / "deepseek-jobs.service").read_text().splitlines()
    assert {"KillMode=process", "OOMPolicy=continue"} <= set(lines)


def test_the_lines_of_the_dockerfile_are_known_and_its_user_is_not_root() -> None:
    text = re.sub(r"\\\n", " ", (EXAMPLES / "Dockerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {word for word, _ in lines} <= KNOWN and "ntested" in (EXAMPLES / "Dockerfile").read_text().splitlines()[0]
    assert [rest.split(":")[0] for word, rest in lines if word == "FROM"] == ["python", "python"]
    last = max(place for place, (word, _) in enumerate(lines) if word == "FROM")
    users = [rest for word, rest in lines[last:] if word == "USER"]
    assert users and users[-1] not in ("root", "0") and [word for word, _ in lines][-2:] == ["ENTRYPOINT", "CMD"]
    for word, rest in lines:
        if word in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(part, str) for part in json.loads(rest))
        if word == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True)
    assert all((ROOT / name).exists() for name in ("requirements.lock", "deepseek-log"))


def test_every_command_of_the_page_is_one() -> None:
    named = re.findall(r"^ *deepseek-dashboard(?: .*)?$", PAGE, re.MULTILINE)
    assert len(named) >= 8
    for line in named:
        words = shlex.split(line.partition("#")[0])[1:]
        name = words[0] if words and words[0] in COMMANDS.commands else "serve"
        COMMANDS.parser(COMMANDS.command(name)).parse_args(words[1:] if name != "serve" else words)


def test_the_page_names_every_check_of_the_doctor() -> None:
    from dashboard.commands.doctor import CHECKS

    section = PAGE.split("## Doctor")[1].split("\n## ")[0]
    assert all(f"| {check.name} |" in section for check in CHECKS)
