"""`deepseek-dashboard doctor`: a line for each check on any host, with the remedy; and the same from the Settings page."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page

from collectors import writer_lock as lock
from collectors.records import Points, labels_of
from collectors.store.sqlite import files
from collectors.store.sqlite.engine import SqliteStore
from dashboard import address
from dashboard.commands.doctor import (
    CHECKS,
    Check,
    CheckedHost,
    Symptom,
    check_clock,
    check_data,
    check_disk,
    check_gpu,
    check_inotify,
    check_logs,
    check_port,
    check_running,
    check_sampler,
    check_store,
    check_versions,
    diagnose,
    json_of,
    lines_of,
    verdict_of,
)
from tests import fake_nvml
from tests.conftest import ROOT, dashboard, wait_for
from tests.support.cost import children_cpu_s, times

START_S = 1_764_000_000.0
NAMES = [check.name for check in CHECKS]


@pytest.fixture
def place(tmp_path: Path) -> CheckedHost:
    (tmp_path / "logs").mkdir()
    return CheckedHost((tmp_path / "logs",), tmp_path / "logs" / ".deepseek", 0)


def doctor(*flags: str, home: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "app.py"), "doctor", *flags]
    around = {**os.environ, **({"HOME": str(home)} if home else {}), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=around, timeout=60)


def test_a_line_a_check_and_exit_code_0_where_nothing_is_wrong(place: CheckedHost) -> None:
    done = doctor("--log-dir", str(place.log_dirs[0]), "--port", "0")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, len(lines)) == (0, "", len(CHECKS))
    for line, name in zip(lines, NAMES, strict=True):
        assert line.split(maxsplit=1)[0] in ("ok", "warning") and f" {name} " in line
        assert line.startswith("ok") or "Type: " in line, "what is not ok has a remedy"


def test_the_json_has_no_environment_no_argv_and_no_home(tmp_path: Path) -> None:
    home = tmp_path / "anna"
    (home / "logs").mkdir(parents=True)
    done = doctor(
        "--json",
        "--log-dir",
        str(home / "logs"),
        "--port",
        "0",
        home=home,
        API_KEY="hunter2hunter2",
        WANDB_TOKEN="t0ps3cret",
    )
    found = json.loads(done.stdout)
    assert [row["name"] for row in found["checks"]] == NAMES and found["verdict"] in ("ok", "warning")
    assert str(home) not in done.stdout and "~/logs" in done.stdout
    assert "hunter2" not in done.stdout and "t0ps3cret" not in done.stdout and "--json" not in done.stdout


def test_all_checks_cost_little(place: CheckedHost) -> None:
    """28 times the CPU of a bare Python at rest; an import of PyTorch alone takes 180."""
    flags = "--log-dir", str(place.log_dirs[0])
    bare = [sys.executable, "-c", "pass"]
    assert times(lambda: doctor(*flags), lambda: subprocess.run(bare, check=True), clock=children_cpu_s) < 80


def test_a_check_that_fails_or_hangs_costs_its_own_line(place: CheckedHost) -> None:
    def hang(_: CheckedHost) -> Symptom:
        time.sleep(90)
        raise AssertionError

    def fail(_: CheckedHost) -> Symptom:
        raise RuntimeError("odd\nhost \ud800")

    before_s = time.monotonic()
    rows = diagnose(place, [Check("clock", hang), Check("disk", fail), Check("port", check_port)], within_s=0.5)
    assert time.monotonic() - before_s < 60
    late, failed, fine = (row.symptom for row in rows)
    assert late.verdict == "warning" and "0.5 s" in late.sentence
    assert failed.verdict == "warning" and "RuntimeError: odd host" in failed.sentence
    assert fine.verdict == "ok" and len(lines_of(rows)) == 3 and json.dumps(json_of(rows))


def test_a_host_without_proc_and_sys_has_a_line_for_each(place: CheckedHost, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    rows = diagnose(place._replace(root=tmp_path / "nothing"))
    assert [row.name for row in rows] == NAMES
    assert verdict_of(rows) != "wrong" and not any("\n" in row.symptom.sentence for row in rows)


def test_a_port_that_is_held_is_wrong_and_its_holder_is_named(place: CheckedHost) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        number = holder.getsockname()[1]
        found = check_port(place._replace(port=number))
        done = doctor("--log-dir", str(place.log_dirs[0]), "--port", str(number))
    assert (
        found.verdict == "wrong"
        and f"process {os.getpid()}" in found.sentence
        and f"--port {number + 1}" in found.remedy
    )
    assert done.returncode == 1
    assert check_port(place._replace(port=number)).verdict == "ok"


def test_the_holder_may_be_another_users_process(place: CheckedHost, tmp_path: Path) -> None:
    """Whose descriptors cannot be read: the kernel's table says whose it is."""
    table = tmp_path / "root" / "proc" / "net" / "tcp"
    table.parent.mkdir(parents=True)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        number = holder.getsockname()[1]
        table.write_text(
            f"head\n 0: 0100007F:{number:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534 0 4711 1\n"
        )
        found = check_port(place._replace(port=number, root=tmp_path / "root"))
    assert "by a process of nobody" in found.sentence or "65534" in found.sentence


@pytest.mark.parametrize("scope", ["1", "2", "3"])
def test_what_ptrace_scope_forbids_is_said_with_the_remedy(scope: str, place: CheckedHost, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "proc/sys/kernel/yama").mkdir(parents=True)
    (root / "proc/sys/kernel/yama/ptrace_scope").write_text(scope)
    (root / "proc/self").mkdir()
    (root / "proc/self/status").write_text("CapEff:\t0000000000000000\nSeccomp:\t0\n")
    found = check_sampler(place._replace(root=root))
    assert (
        found.verdict == "warning"
        and f"ptrace_scope is {scope}" in found.sentence
        and "sysctl kernel.yama.ptrace_scope=0" in found.remedy
    )


def test_a_full_disk_and_a_folder_that_may_not_be_written_are_wrong(
    place: CheckedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_disk(place).verdict in ("ok", "warning")
    place.data_dir.mkdir()
    assert check_disk(place).verdict in ("ok", "warning")
    whole = os.statvfs(place.data_dir)

    class Full:
        f_bavail, f_frsize, f_blocks, f_files, f_favail = (
            3,
            whole.f_frsize,
            whole.f_blocks,
            whole.f_files,
            whole.f_favail,
        )

    monkeypatch.setattr(os, "statvfs", lambda _: Full)
    assert check_disk(place).verdict == "wrong" and "df -h" in check_disk(place).remedy
    monkeypatch.undo()

    def no_room(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_room)
    found = check_disk(place)
    assert found.facts["write_ms"] is None if "write_ms" in found.facts else found.verdict == "wrong"


def test_odd_folders_are_a_sentence(place: CheckedHost, tmp_path: Path) -> None:
    assert check_logs(place).verdict == "ok"
    gone = check_logs(place._replace(log_dirs=(tmp_path / "gone",)))
    assert gone.verdict == "warning" and "mkdir -p" in gone.remedy
    os.mkfifo(tmp_path / "fifo")
    assert check_logs(place._replace(log_dirs=(tmp_path / "fifo",))).verdict == "wrong"
    assert check_data(place._replace(data_dir=tmp_path / "fifo")).verdict == "wrong"
    rows = diagnose(place._replace(log_dirs=(tmp_path / "fifo",), data_dir=tmp_path / "fifo" / "below"))
    assert verdict_of(rows) == "wrong" and len(rows) == len(CHECKS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_folders_that_are_closed_to_this_user_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "closed" / "logs").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    code = "import codecs, os, sys; codecs.lookup('unicode_escape'); from pathlib import Path; from dashboard.commands.doctor import CheckedHost; from dashboard.commands.doctor import diagnose, lines_of; import collectors.store.engines, collectors.store.sqlite; from dashboard.commands.doctor import CHECKS; os.setgroups([]); os.setgid(65534); os.setuid(65534); logs = Path(sys.argv[1]); print(*lines_of(diagnose(CheckedHost((logs,), logs / '.deepseek', 0), CHECKS[3:8])), sep=chr(10))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "closed" / "logs")], cwd=ROOT, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert (done.stderr, len(lines)) == ("", 5)
    assert "could not be looked at" not in done.stdout and any(line.startswith("wrong    log folder") for line in lines)


def test_a_data_folder_on_a_network_file_system_is_wrong_and_logs_there_are_polled(
    place: CheckedHost, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mounts").write_text(f"/dev/sda1 / ext4 rw 0 0\nbox:/x {place.log_dirs[0]} nfs4 rw 0 0\n")
    remote = place._replace(root=root)
    assert "is polled" in check_logs(remote).sentence and check_logs(remote).verdict == "ok"
    assert check_data(remote).verdict == "wrong" and "local disk" in check_data(remote).remedy


def test_a_damaged_store_a_newer_one_and_a_fifo_in_its_place_are_wrong(place: CheckedHost) -> None:
    assert check_store(place).verdict == "ok"
    writer = SqliteStore(place.data_dir, write=True)
    writer.append([Points(None, labels_of(gpu=0), ("gpu/util",), (1.0,), START_S, None)])
    writer.close()
    sound = check_store(place)
    assert sound.verdict == "ok" and sound.facts["runs.sqlite schema"], sound
    week = place.data_dir / files.week_file(START_S)
    week.write_bytes(b"\0" * 100 + week.read_bytes()[100:])
    damaged = check_store(place)
    assert damaged.verdict == "wrong" and week.name in damaged.sentence and "store check" in damaged.remedy
    week.unlink()
    os.mkfifo(week)
    assert "it is not a file" in check_store(place).sentence


@pytest.mark.parametrize("limit", ["instances", "watches"])
def test_inotify_used_up_is_a_warning(limit: str, place: CheckedHost, tmp_path: Path) -> None:
    limits = tmp_path / "root" / "proc/sys/fs/inotify"
    limits.mkdir(parents=True)
    for name in ("instances", "watches"):
        (limits / f"max_user_{name}").write_text("0\n" if name == limit else "1000000\n")
    found = check_inotify(place._replace(root=tmp_path / "root"))
    assert found.verdict == "warning" and f"max_user_{limit}=" in found.remedy
    assert check_inotify(place).facts["max_watches"]


def test_cards_without_a_driver_are_a_warning_and_no_cards_are_none(place: CheckedHost, tmp_path: Path) -> None:
    if any(Path("/dev").glob("nvidia[0-9]")):
        pytest.skip("this machine has cards")
    assert check_gpu(place._replace(root=tmp_path)).verdict == "ok"
    card = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x10de\n")
    (card / "class").write_text("0x030200\n")
    found = check_gpu(place._replace(root=tmp_path))
    assert found.verdict == "warning" and found.facts["cards_on_the_bus"] == 1 and found.remedy.startswith("Type: ")


def test_the_cards_of_a_driver_are_counted(place: CheckedHost, tmp_path: Path) -> None:
    described = fake_nvml.environment(tmp_path / "nvml", fake_nvml.eight_gpus())
    found = json.loads(doctor("--json", "--log-dir", str(place.log_dirs[0]), "--port", "0", **described).stdout)
    row = next(row for row in found["checks"] if row["name"] == "gpu")
    assert (
        row["verdict"] == "ok"
        and row["facts"]["cards"] == 8
        and row["sentence"].startswith("driver ")
        and "8 x " in row["sentence"]
    )


def test_versions_and_the_clock_are_known_here(place: CheckedHost) -> None:
    before = "torch" in sys.modules  # of another test
    found = check_versions(place)
    assert (
        found.verdict == "ok" and found.facts["python"] == sys.version.split()[0] and ("torch" in sys.modules) == before
    )
    assert (
        check_clock(place).verdict in ("ok", "warning") and abs(float(check_clock(place).facts["apart_ms"] or 0)) < 1000
    )


def test_a_lock_that_nobody_knows_is_a_sentence(place: CheckedHost) -> None:
    place.data_dir.mkdir()
    assert check_running(place).verdict == "ok"
    with held(place.data_dir / lock.FILE):
        assert check_running(place).verdict == "warning"


class Says(BaseHTTPRequestHandler):
    """A dashboard that does not know who asks, and says its word only."""

    answer = b'{"status":"ok"}'

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "verdict", "word"),
    [
        (b'{"status":"ok"}', "ok", "is well; it says more to its own user"),
        (b'{"status":"degraded"}', "warning", "is degraded; it says why to its own user"),
        (b"[1]", "wrong", "no dashboard"),
    ],
)
def test_a_dashboard_that_says_one_word_is_understood(
    place: CheckedHost, monkeypatch: pytest.MonkeyPatch, answer: bytes, verdict: str, word: str
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which is not asked
    monkeypatch.setattr(Says, "answer", answer)
    place.data_dir.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), Says) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with address.publish(place.data_dir, f"http://127.0.0.1:{server.server_port}"):
            found = check_running(place)
        server.shutdown()
    assert found.verdict == verdict and word in found.sentence


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    code = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); f.write('{'); f.flush(); fcntl.flock(f, 2); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_the_running_dashboard_is_looked_at_and_its_page_copies_the_diagnosis(tmp_path: Path, page: Page) -> None:
    with dashboard(tmp_path / "logs") as started:
        wait_for(lambda: started.get("/healthz")["status"] == "ok")
        found = started.get("/api/v1/diagnosis")
        by_name = {row["name"]: row for row in found["checks"]}
        assert list(by_name) == NAMES and "a dashboard runs" in by_name["dashboard"]["sentence"]
        assert "running dashboard" in by_name["port"]["sentence"] and by_name["dashboard"]["facts"]["collector"]
        page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=started.address)
        page.goto(f"{started.address}/settings")
        page.click("#copy-diagnosis")
        page.locator("#diagnosed").filter(has_text="Copied").wait_for()
        copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
        assert [row["name"] for row in copied["checks"]] == NAMES
