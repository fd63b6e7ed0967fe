"""Real libraries train through our adapters: what they did is what the dashboard's tail reads, and no fault of ours changes the training.

make test-integrations
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from collectors.records import Event, RunInfo
from tests.integrations.environment import PYTHON, ROOT, SKIPPED, is_ready, plain_environment
from tests.support.adapter_examples import example_of_an_adapter_runs
from tests.support.following import Follower, series_of, until
from tests.support.running import script

PROGRAMS = Path(__file__).parent / "programs"
ADAPTERS = ("transformers", "lightning", "accelerate", "wandb")
FAULTS = ("disk", "raises", "folder")
OURS = ("start", "end")  # events that RunLog writes itself
NOWHERE = "/proc/nope"  # no folder can be made there
TRAINING = """
import sys
import lightning, torch
from deepseek.log.adapters.lightning import RunLogger, PhasesCallback

class Line(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        return self.layer(batch).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

data = torch.utils.data.DataLoader(torch.randn(16, 4), batch_size=8)
logger = RunLogger(sys.argv[1], run="x")
trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=logger, callbacks=[PhasesCallback()], enable_progress_bar=False)
trainer.fit(Line(), data)
assert trainer.global_step == 2
"""


class Trained(NamedTuple):
    folder: Path
    told: dict[str, dict[str, Any]]  # by fault what the program reports,
    errors: dict[str, str]  # and what was on its stderr


@pytest.fixture(scope="module", params=ADAPTERS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Without a fault, without our code, and with each fault."""
    faults, folder = ("no", "none", *FAULTS), tmp_path_factory.mktemp(request.param)
    command = [sys.executable, str(PROGRAMS / f"adapter_{request.param}.py"), str(folder), *faults]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=170, env=plain_environment())
    errors = {path.parent.name: path.read_text() for path in folder.glob("*/stderr.txt")}
    assert done.returncode == 0, f"{done.stderr} {errors}"
    return Trained(folder, {name: json.loads((folder / name / "told.json").read_text()) for name in faults}, errors)


def test_steps_phases_configuration_and_events_are_what_the_program_did(trained: Trained) -> None:
    told = trained.told["no"]
    assert "failed" not in trained.errors["no"]
    follower = Follower(trained.folder / "no" / "logs")
    until(follower, lambda: any(isinstance(record, Event) and record.kind == "end" for record in follower.records))
    follower.tail.close()
    records = [record for record in follower.records if getattr(record, "run", "run") == "run"]
    found = series_of(records)
    for name, rows in told["series"].items():
        if name.startswith("phase/"):
            spent = [value for step, value in found[name]]
            assert [step for step, _ in found[name]] == [step for step, _ in rows] and all(
                0 <= value < 100 for value in spent
            ), name
            assert any(spent), name
        else:
            assert as_float32(found.get(name, [])) == as_float32(rows), name
    config = [record.info for record in records if isinstance(record, RunInfo)][-1]["config"]
    assert {name: config.get(name) for name in told["config"]} == told["config"]
    events = [record for record in records if isinstance(record, Event)]
    did = [[event.kind, event.step] for event in events if event.kind not in OURS]
    assert sorted(did, key=str) == sorted(told["events"], key=str)
    assert [event.kind for event in events if event.kind in OURS] == list(OURS)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_ours_changes_a_training(trained: Trained, fault: str) -> None:
    """Each is said in one sentence, once, whatever the number of steps."""
    assert trained.told[fault]["result"] == trained.told["none"]["result"]
    errors = trained.errors[fault]
    lines = [line for line in errors.splitlines() if line.startswith(("deepseek.log.adapters:", "RunLog:"))]
    assert lines and len(lines) == len(set(lines)) and "Traceback" not in errors, errors
    assert sum(" failed and logs less" in line for line in lines) == 1 or fault == "disk", errors


def test_two_ranks_of_a_trainer_write_files_of_their_own_into_one_run(tmp_path: Path) -> None:
    """The guide's example under torchrun: the ranks agree on the run without a word between them."""
    example = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "integrations.md").read_text(), re.DOTALL)
    assert example
    (tmp_path / "train.py").write_text(example[1].replace('run="small"', ""))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    environment = {**plain_environment(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    for suffix in ("", ".rank1"):
        lines = [
            json.loads(line)
            for line in (tmp_path / "logs" / "train" / f"metrics{suffix}.jsonl").read_text().splitlines()
        ]
        assert [line["step"] for line in lines if "phase/optimizer_s" in line] == [1, 2, 3, 4]
        events = (tmp_path / "logs" / "train" / f"events{suffix}.jsonl").read_text()
        assert '"kind":"start"' in events and '"status":"finished"' in events
    assert json.loads((tmp_path / "logs" / "train" / "run.json").read_text())["world_size"] == 2


@pytest.mark.parametrize(("library", "function"), [("lightning", "training_step"), ("transformers", "compute_loss")])
def test_steps_of_a_library_are_traced(library: str, function: str, tmp_path: Path) -> None:
    """Its adapter says where a step ends; nothing else is needed."""
    command = [sys.executable, str(PROGRAMS / f"traced_{library}.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=170, env=plain_environment())
    assert done.returncode == 0, done.stderr
    trace = json.loads((tmp_path / ".deepseek" / "traces" / "run" / "trace-0123abcd.json").read_text())
    assert trace["error"] == "" and trace["last_step"] - trace["first_step"] == 1
    assert function in {name for _, _, name in trace["frames"]} and any(
        row[1] == "aten::addmm" for row in trace["kernels"]
    )


@pytest.mark.parametrize("number", range(3), ids=ADAPTERS[:3])
def test_the_example_of_the_guide_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example_of_an_adapter_runs(number, tmp_path, monkeypatch)


def test_lightning_trains_where_no_log_folder_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with script(TRAINING, NOWHERE) as process:
        assert process.wait(100) == 0
    assert list(tmp_path.rglob("*.ckpt"))


@pytest.mark.long
def test_our_module_of_wandbs_calls_makes_of_them_what_wandb_makes(tmp_path: Path) -> None:
    """Steps, commits and values; the file of wandb's is read with a slash where wandb's pages have a dot."""
    if not is_ready("long"):
        pytest.skip(SKIPPED)
    theirs, ours = (called(module, tmp_path / module) for module in ("wandb", "deepseek.log.adapters.wandb"))
    assert len(theirs) == 4 and {name.replace("/", "."): values for name, values in theirs.items()} == ours


def called(module: str, folder: Path) -> dict[str, list[tuple[int | None, float]]]:
    command = [str(PYTHON), str(PROGRAMS / "wandb_calls.py"), str(folder), module]
    subprocess.run(command, check=True, capture_output=True, timeout=100, env=plain_environment())
    follower = Follower(folder)
    until(follower, lambda: any(getattr(record, "kind", "") == "end" for record in follower.records))
    follower.tail.close()
    return series_of(follower.records)


def as_float32(rows: Sequence[Sequence[Any]]) -> list[tuple[int, float]]:
    """RunLog writes an exact float32 in its shortest form, which is another float64."""
    return [(step, float(np.float32(value))) for step, value in rows]
