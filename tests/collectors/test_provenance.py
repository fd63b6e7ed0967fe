"""What ran: read from a process and its checkout, without running anything that they name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collectors.machine.proc import start_ticks
from collectors.machine.run_state import RunProcess
from collectors.provenance import DIFF, RAN, probe
from collectors.provenance.collector import ProvenanceCollector
from collectors.provenance.probe import config_of, versions_of
from collectors.records import Event, SourceText
from tests.collectors.test_lives import PLAIN_LOOP
from tests.conftest import dashboard, wait_for

SECRET = "hunter2hunter2"
ENVIRONMENT = {
    "PATH": os.environ["PATH"], "CUDA_VISIBLE_DEVICES": "0,1", "NCCL_DEBUG": "INFO", "SLURM_JOB_ID": "7", "SLURM_JWT": SECRET, "HF_TOKEN": SECRET,
    "TORCH_HUB_URL": f"https://me:{SECRET}@hub", "HOME": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "config"),
    [
        ("python -u -X dev train.py --lr 3e-4 --bf16 --layers 1 2 3", {"lr": 3e-4, "bf16": True, "layers": [1, 2, 3]}),
        (
            "python3.11 -m torch.main --batch-size=32 model.depth=12 +x=none",
            {"batch_size": 32, "model.depth": 12, "x": None},
        ),
        ("./train -n 4 --seed -1 --name a --name b", {"n": 4, "seed": -1, "name": "b"}),
        ("python train.py --api-key abc --opt.token=abc data.yaml", {}),
        ("python", {}),
        ("python -c code --x", {"x": True}),
        ("python - --x 1.5", {"x": 1.5}),
    ],
)
def test_a_configuration_is_read_from_a_command_line(line: str, config: dict[str, Any]) -> None:
    from deepseek.log.redaction import without_secrets

    assert config_of(without_secrets(line.split())) == config


def test_a_configuration_is_bounded() -> None:
    many = config_of(["x", *(f"--a{i}={i}" for i in range(10_000)), "--long", "y" * 10_000])
    assert len(json.dumps(many)) < 10_000
    assert config_of(["x", "--n", "9" * 5000]) == {}


def in_git(folder: Path, *words: str) -> str:
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a"}
    command = ["git", "-c", "init.defaultBranch=main", *words]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **identity}, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    top = tmp_path / "project"
    (top / "deep" / "er").mkdir(parents=True)
    in_git(top, "init")
    (top / "train.py").write_text("lr = 1\n")
    (top / ".env").write_text("X=1\n")
    (top / "job.yaml").write_text("a: 1\n")
    in_git(top, "add", "-f", ".")
    in_git(top, "commit", "-m", "first")
    return top


def test_commit_branch_and_changes_are_read(checkout: Path) -> None:
    clean = probe.look(checkout / "deep" / "er")
    assert clean == probe.GitState(in_git(checkout, "rev-parse", "HEAD"), "main", False)
    (checkout / "train.py").write_text("lr = 2\n")
    state = probe.look(checkout)
    assert state and state.dirty and "-lr = 1\n+lr = 2\n" in state.diff and not state.note


def test_changes_are_kept_without_secrets(checkout: Path) -> None:
    (checkout / "train.py").write_text(f'lr = 2\nlogin(token="{SECRET}")\n')
    (checkout / "job.yaml").write_text(f"a: 1\napi_key: {SECRET}\n")
    (checkout / ".env").write_text(f"Y={SECRET}\n")
    state = probe.look(checkout)
    assert state and "+lr = 2" in state.diff and "api_key" in state.diff
    assert SECRET not in state.diff


def test_a_linked_worktree_a_detached_head_and_packed_refs_are_read(checkout: Path, tmp_path: Path) -> None:
    commit = in_git(checkout, "rev-parse", "HEAD")
    in_git(checkout, "worktree", "add", str(tmp_path / "linked"), "-b", "side/x")
    in_git(checkout, "pack-refs", "--all")
    assert probe.look(tmp_path / "linked") == probe.GitState(commit, "side/x", False)
    in_git(checkout, "checkout", "--detach")
    assert probe.look(checkout) == probe.GitState(commit, "", False)


def test_nothing_that_a_repository_names_is_run(checkout: Path, tmp_path: Path) -> None:
    """Hooks, fsmonitor, filters, textconv, external diffs, pagers, aliases, includes, and a submodule that has them, too."""
    mark = tmp_path / "ran"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    evil.chmod(0o755)
    settings = [
        "core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "diff.external", "diff.x.textconv", "diff.x.command", "filter.x.clean",
        "filter.x.smudge", "filter.x.process", "alias.diff", "pager.diff", "credential.helper", "core.gitProxy", "core.alternateRefsCommand",
        "interactive.diffFilter", "gpg.program", "uploadpack.packObjectsHook",
    ]  # fmt: skip
    for name in settings:
        in_git(checkout, "config", name, str(evil))
    included = tmp_path / "included"
    included.write_text(f"[core]\n\tfsmonitor = {evil}\n")
    in_git(checkout, "config", "include.path", str(included))
    for hook in (*Path(checkout / ".git/hooks").glob("*.sample"), checkout / ".git/hooks/post-index-change"):
        (hook.with_suffix("")).write_bytes(evil.read_bytes())
        hook.with_suffix("").chmod(0o755)
    (checkout / ".gitattributes").write_text("* filter=x diff=x\n")
    (checkout / ".git/info").mkdir(exist_ok=True)
    (checkout / ".git/info/attributes").write_text("* filter=x diff=x\n")
    (checkout / "train.py").write_text("lr = 2\n")
    index = (checkout / ".git/index").read_bytes()
    state = probe.look(checkout)
    assert state and state.dirty and "+lr = 2" in state.diff
    assert (
        not mark.exists()
        and (checkout / ".git/index").read_bytes() == index
        and not (checkout / ".git/index.lock").exists()
    )


def test_a_long_diff_is_cut_at_a_line(checkout: Path) -> None:
    (checkout / "train.py").write_text("".join(f"line {i} {'x' * 100}\n" for i in range(50_000)))
    state = probe.look(checkout)
    assert state and len(state.diff) <= probe.MAX_DIFF_BYTES and state.diff.endswith("x\n") and "1 MB" in state.note


@pytest.mark.parametrize(
    "odd",
    ["gitdir: /dev/zero", "gitdir: .", "gitdir: ../../../../..", "", "\0\0", "gitdir: /nowhere/at/all", "x" * 5000],
)
def test_an_odd_git_file_is_no_checkout(tmp_path: Path, odd: str) -> None:
    (tmp_path / ".git").write_text(odd)
    assert probe.look(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("HEAD", b"ref: refs/../../etc/passwd"),
        ("HEAD", b"\xff" * 100),
        ("index", b"DIRC junk"),
        ("config", b"[core\n"),
        ("packed-refs", b"\0" * 99),
    ],
)
def test_an_odd_repository_costs_only_what_it_hides(checkout: Path, file: str, data: bytes) -> None:
    (checkout / ".git" / file).write_bytes(data)
    state = probe.look(checkout)
    assert state is None or len(state.commit) == 40
    if file in ("index", "config"):
        assert state and state.dirty is None and state.note


def test_a_folder_without_git_and_one_without_a_commit_have_no_state(tmp_path: Path) -> None:
    assert probe.look(tmp_path) is None or (Path("/") / ".git").exists()
    in_git(tmp_path, "init")
    assert probe.look(tmp_path) is None


def test_versions_are_read_from_the_folders_of_its_python(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    packages = venv / "lib" / "python3.12" / "site-packages"
    for name in ("torch-2.9.0+cu128", "numpy-2.3.1", "nvidia_nccl_cu12-2.27.3", "Secret.Thing-1.0"):
        (packages / f"{name}.dist-info").mkdir(parents=True)
    (packages / "torch").mkdir()
    (packages / "torch" / "version.py").write_text(
        "__version__ = '2.9.0+cu128'\ncuda: Optional[str] = '12.8'\nhip = None\n"
    )
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.4\n")
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to("/nowhere")
    found = versions_of(10**8, [f"{venv}/bin/python"], {}, "")
    assert (found.python, found.cuda, found.nccl) == ("3.12.4", "12.8", "2.27.3")
    assert found.libraries == {"torch": "2.9.0+cu128", "numpy": "2.3.1", "nvidia_nccl_cu12": "2.27.3"}


@contextmanager
def waiting(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    code = "import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, *words], cwd=folder, env=ENVIRONMENT) as process:
        try:
            yield process
        finally:
            process.kill()


def looked(collector: ProvenanceCollector) -> list[Any]:
    return list(wait_for(collector.collect, because="no look has ended"))


def test_a_process_is_looked_at_once_and_what_was_found_has_no_secret(checkout: Path) -> None:
    learned: dict[str, dict[str, Any]] = {}
    (checkout / "train.py").write_text("lr = 2\n")
    with waiting(checkout, "--lr", "3e-4", "--api-key", SECRET) as process:
        collector = ProvenanceCollector(learned.__setitem__, lambda: {"gpu": "a GPU"}, host="box")
        ticks = start_ticks(process.pid)
        assert ticks is not None
        collector.noticed("a", RunProcess(process.pid, 0, ticks))
        event, text = looked(collector)
        assert collector.collect() == []
        collector.close()
    assert isinstance(event, Event) and (event.run, event.kind, event.fields["pid"]) == ("a", RAN, process.pid)
    assert isinstance(text, SourceText) and (text.run, text.path) == ("a", DIFF) and "+lr = 2" in text.text
    what = event.fields["what"]
    assert what == learned["a"]
    assert (
        what["config"] == {"lr": 3e-4}
        and what["cwd"] == str(checkout)
        and what["gpu"] == "a GPU"
        and what["git_dirty"] is True
    )
    assert what["git_commit"] == in_git(checkout, "rev-parse", "HEAD") and what["python"].startswith("3.")
    assert what["environment"] == {"CUDA_VISIBLE_DEVICES": "0,1", "NCCL_DEBUG": "INFO", "SLURM_JOB_ID": "7"}
    assert SECRET not in json.dumps(what)


def test_after_a_restart_runs_know_again_what_ran_and_open_looks_are_made(tmp_path: Path) -> None:
    learned: dict[str, dict[str, Any]] = {}
    ranks = [
        Event("a", RAN, 1.0, rank, fields={"pid": rank, "pid_start_ticks": 1, "what": {"cwd": str(rank)}})
        for rank in (1, 0, 2)
    ]
    with waiting(tmp_path) as process:
        from collectors.machine.proc import boot_id

        name = {"pid": process.pid, "pid_start_ticks": start_ticks(process.pid), "boot_id": boot_id()}
        seen = Event("b", "process", 1.0, fields=name)
        collector = ProvenanceCollector(learned.__setitem__, dict, host="box", written=[*ranks, seen])
        assert learned == {"a": {"cwd": "0"}}
        assert [record.run for record in looked(collector)] == ["b"]
        collector.close()


def test_a_process_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    collector = ProvenanceCollector(lambda run, what: None, dict, host="box")
    for pid in (10**8, os.getpid()):
        collector.noticed("a", RunProcess(pid, 0, 1))
    assert collector.collect() == [] and collector.collect() == []


def test_a_run_says_what_ran_where_its_files_say_nothing(checkout: Path, tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    for run in ("plain", "described"):
        (log_dir / run).mkdir(parents=True)
    (log_dir / "described" / "run.json").write_text(json.dumps({"command": "mine", "config": {"lr": 7}}))
    (checkout / "train.py").write_text(f"import sys\nsys.path.insert(0, {str(Path.cwd())!r})\n{PLAIN_LOOP}")
    with dashboard(log_dir) as running:
        processes = []
        for run in ("plain", "described"):
            words = [
                sys.executable,
                "train.py",
                str(log_dir / run / "metrics.jsonl"),
                "--lr",
                "3e-4",
                "--hf-token",
                SECRET,
            ]
            processes.append(subprocess.Popen(words, cwd=checkout))
        try:
            plain, described = (
                wait_for(lambda run=run: info if (info := running.run(run).get("info", {})).get("git_commit") else {})
                for run in ("plain", "described")
            )
            diff = running.get("/api/v1/diff?run=plain")["diff"]
            everything = running.get("/api/v1/run?run=plain"), running.get("/api/v1/events?run=plain"), diff
        finally:
            for process in processes:
                process.kill()
                process.wait()
    assert plain["config"] == {"lr": 3e-4} and plain["git_dirty"] is True and plain["python"].startswith("3.")
    assert (
        described["command"] == "mine"
        and described["config"] == {"lr": 7}
        and described["git_commit"] == plain["git_commit"]
    )
    assert "+import sys" in diff and SECRET not in json.dumps(everything)
