"""Makes and measures candidates, each as a run of its own."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from deepseek.log import RunLog

from ..artifact import Artifact, ModelManifest, write
from ..artifact.export import export
from ..errors import BadArtifact, ModelsError, cannot_write
from ..runtimes import RUNTIMES, installed, open_session, pick
from ..runtimes.pick import CallTimes, ratio, time_in_rounds
from ..runtimes.session import ModelSession
from . import measure, networks, train
from .data import ImageSplits, Views
from .recipe import AUTO, CandidateChoice, CandidateResult, CompressionRecipe, StudentChoice
from .train import EpochResult

if TYPE_CHECKING:
    import numpy as np


RECIPE = "recipe.json"


class WorkFolder:
    """`about` is what all in it depends on: data, teacher, plan. Raises ModelsError for a folder of another compression."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        text = json.dumps(about, indent=1, sort_keys=True) + "\n"
        try:
            path.mkdir(parents=True, exist_ok=True)
            recipe = path / RECIPE
            if not recipe.exists() or not recipe.stat().st_size:  # empty: the disk was full, or the process killed
                if set(path.iterdir()) - {recipe}:
                    raise ModelsError(f"{path} has other files in it; give an empty folder, or a new one, as --work")
                recipe.write_text(text)
            self._compare(recipe.read_text(errors="replace"), about)
        except OSError as error:
            raise cannot_write(path, error) from error

    def __enter__(self) -> WorkFolder:
        """Raises ModelsError while another compression is at work in it."""
        try:
            self._recipe = (self.path / RECIPE).open("rb")
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            fcntl.flock(self._recipe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._recipe.close()
            raise ModelsError(
                f"another compression is at work in {self.path}; wait for its end, or give another folder as --work"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._recipe.close()

    def artifact(self, name: str, make: Callable[[Path], Artifact]) -> Artifact:
        """The one of that name, checked; made in this folder if it is not there, or is damaged."""
        folder = self.path / name
        if folder.exists():
            try:
                return Artifact.open(folder)
            except BadArtifact:
                shutil.rmtree(folder)
        return make(folder)

    def array(self, name: str, make: Callable[[], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """As `artifact`."""
        import numpy as np

        path, part = self.path / f"{name}.npy", self.path / f"{name}.part"
        try:
            found: np.ndarray[Any, Any] = np.load(path, allow_pickle=False)
            return found
        except (OSError, ValueError, EOFError):
            made = make()
        try:
            with part.open("wb") as file:
                np.save(file, made, allow_pickle=False)
            part.rename(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise cannot_write(path, error) from error
        return made

    def _compare(self, text: str, about: dict[str, Any]) -> None:
        try:
            before = json.loads(text)
        except ValueError:
            before = {}
        for key, value in about.items():
            if not isinstance(before, dict) or before.get(key) != json.loads(json.dumps(value)):
                known = before.get(key) if isinstance(before, dict) else None
                raise ModelsError(
                    f"{self.path} belongs to a compression with {key} {known!r}, not {value!r}; give another folder as --work"
                )


# A candidate as a run of its own, for the Runs page: its configuration, its training, what was found of it.
#
# It is written when the candidate is done, with the times at which things happened: while two runs are open in one process, the process, and
# with it its stacks, would belong to the later one only.


class CandidateRun:
    """Numbers of a run that is written at the end."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name, self.config = name, config
        self._lines: list[tuple[float, int, Mapping[str, object]]] = []

    def scalars(self, step: int, values: Mapping[str, object]) -> None:
        """Of a step of its training."""
        self._lines.append((time.time(), step, values))

    def write(self, logs: Path, found: Mapping[str, float]) -> None:
        """`found` stands at the last step. Raises OSError when the folder cannot be made."""
        self.scalars(self._lines[-1][1] if self._lines else 0, found)
        with RunLog(logs, self.name, config=self.config, name="candidate") as log:
            for time_s, step, values in self._lines:
                log.scalars_at(time_s, step, values)


# Make candidates and measure them, each as a unit of the run: train, export, calibrate, measure.

TASK, INPUT, OUTPUT = "image-classification", "image", "logits"
GOLDEN_ITEMS = 8
TRAINING = ".training"  # ending of a file
LOGGED_EVERY = 10  # steps of a training


class ModelWay(NamedTuple):
    """One of the ways to run an artifact."""

    runtime: str
    precision: str
    session: ModelSession


class CandidateMaker:
    """Of one recipe; `log` is its run, and each candidate has a run of its own below it."""

    def __init__(
        self,
        recipe: CompressionRecipe,
        data: ImageSplits,
        work: WorkFolder,
        log: RunLog,
        progress: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.recipe, self.data, self.work, self.log, self.progress = recipe, data, work, log, progress
        self.views = Views(data.mirrors, recipe.views, seed=1)
        self.number = 0
        self.licence = data.licence

    def teacher(self) -> Artifact:
        """Candidate 0. Made or opened, measured, and its answers to the training images kept."""
        run = self._run("teacher", {"teacher": self.recipe.teacher})
        folder = Path(self.recipe.teacher)
        if (folder / "manifest.json").exists():
            artifact, self.data = train.given(folder, self.data)
            self.licence = artifact.manifest.licence
        else:
            artifact = self.work.artifact("teacher", lambda folder: self._trained_teacher(folder, run))
        with self.log.phase("measure"):
            ways = self.ways(artifact)
            times = self.timed(
                {way.runtime: way for way in ways if way.precision == "fp32"} or {way.runtime: way for way in ways}
            )
            self.reference = min(times, key=lambda name: times[name].p50_ms)
            self.reference_way = next(way for way in ways if way.runtime == self.reference)
            self.teacher_right = measure.right(self.reference_way.session, self.data, self.data.validation)
        with self.log.phase("answer"):
            self.answers = self.work.array(
                "answers", lambda: train.answers_to(self.reference_way.session, self.data, self.views)
            )
        fast = times[self.reference]
        values = {
            "accuracy": float(self.teacher_right.mean()),
            "size_mb": artifact.bytes / 1e6,
            "latency_ms": fast.p50_ms,
        }
        values |= {"p99_ms": fast.p99_ms, "cpu_ms": fast.cpu_ms}
        self._report(run, {f"candidate/{name}": value for name, value in values.items()})
        self.say(
            f"teacher: {artifact.manifest.name}, {measure.share(self.teacher_right)} on the validation, {self.reference}"
        )
        self.teacher_artifact = artifact
        return artifact

    def candidate(self, choice: CandidateChoice) -> CandidateResult:
        """Raises CannotExport where its network does not become a file, ModelsError on a full disk; what was made before stays."""
        self.number += 1
        run = self._run(str(choice), choice.config())
        artifact = self._made(choice, run)
        with self.log.phase("measure"):
            found = self._measured(choice, artifact)
        self._report(run, found.scalars())
        verdict = "; ".join(found.refusals) or "passes"
        sentence = f"{choice}: {found.accuracy} in {found.runtime}, {found.times.p50_ms:.3f} ms; {verdict}"
        self.log.event("candidate", text=sentence)
        self.progress(f"candidate {self.number}, {sentence}")
        return found

    def say(self, sentence: str, level: str = "INFO") -> None:
        """In the log of the run, and to the caller."""
        self.log.text(sentence, level)
        self.progress(sentence)

    def ways(self, artifact: Artifact) -> list[ModelWay]:
        """Of all runtimes and precisions of this host."""
        own = artifact.manifest.precision
        return [
            ModelWay(name, precision, open_session(artifact.model, name, precision, self.recipe.threads, own=own))
            for name in installed()
            for precision in RUNTIMES[name].precisions(own)
        ]

    def timed(self, ways: dict[str, ModelWay]) -> dict[str, CallTimes]:
        """One image a call, in interleaved rounds."""

        image = self.data.prepared(self.data.validation.images_NCHW[:1]).numpy()

        def call(session: ModelSession) -> Any:
            item = {session.inputs[0].name: image}
            return lambda: session.run(item)

        return time_in_rounds({name: call(way.session) for name, way in ways.items()}, self.recipe.rounds)

    def manifest(self, name: str, parent: str | None, module: torch.nn.Module | None, **more: Any) -> ModelManifest:
        return ModelManifest(
            name=name,
            task=TASK,
            licence=self.licence,
            source=f"deepseek-models compress, {self.data.name}",
            preprocessing=self.data.preprocessing,
            parent=parent,
            parameters=networks.parameters(module) if module else None,
            **more,
        )

    def golden_inputs(self) -> dict[str, Any]:
        return {INPUT: self.data.prepared(self.data.validation.images_NCHW[:GOLDEN_ITEMS]).numpy()}

    def _made(self, choice: CandidateChoice, run: CandidateRun) -> Artifact:
        whole = self.work.artifact(
            f"{choice.student}-fp32", lambda folder: self._trained_student(folder, choice.student, run)
        )
        if choice.bits == 32:
            return whole

        def quantized(folder: Path) -> Artifact:
            with self.log.phase("calibrate"):
                images_NCHW = self.data.train.images_NCHW[: self.recipe.calibration]
                content = measure.quantize(
                    whole.model,
                    [{INPUT: self.data.prepared(images_BCHW).numpy()} for images_BCHW in images_NCHW.split(64)],
                )
                manifest = self.manifest(str(choice), whole.sha256, None, precision="int8", tolerance=measure.TOLERANCE)
                return write(
                    folder, content, replace(manifest, parameters=whole.manifest.parameters), self.golden_inputs()
                )

        return self.work.artifact(str(choice), quantized)

    def _trained_teacher(self, folder: Path, run: CandidateRun) -> Artifact:
        plan = train.TrainingPlan(self.recipe.epochs, most_s=self.recipe.teacher_s)
        name = self.recipe.teacher
        with self.log.phase("train"):
            train.settle_threads()
            if name == AUTO and (begun := self._begun(folder)):
                name = begun
            elif name == AUTO:
                name = train.largest_in(self.data, self.recipe.teacher_s, plan.batch)
                self.say(
                    f"teacher: {name}, the largest whose plateau is expected within {self.recipe.teacher_s:.0f} s here"
                )
            net = train.trained(name, self.data, plan, self._listener(run), self._state_file(folder, name))
        made = self._exported(folder, name, None, net)
        self._state_file(folder, name).unlink(missing_ok=True)
        return made

    def _trained_student(self, folder: Path, choice: StudentChoice, run: CandidateRun) -> Artifact:
        with self.log.phase("train"):
            train.settle_threads()
            torch.manual_seed(0)
            answers = (
                None
                if choice.temperature is None
                else train.TeacherAnswers(torch.from_numpy(self.answers), choice.temperature)
            )
            net = train.train(
                networks.student(choice.width, train.shape_of(self.data)),
                self.data,
                self.views,
                train.TrainingPlan(self.recipe.epochs),
                answers,
                self._listener(run),
                self._state_file(folder),
            )
        made = self._exported(folder, f"{choice}-fp32", self.teacher_artifact.sha256, net)
        self._state_file(folder).unlink(missing_ok=True)
        return made

    def _exported(self, folder: Path, name: str, parent: str | None, net: train.TrainedNet) -> Artifact:
        """The manifest says how it was trained."""
        seconds = sum(epoch.seconds for epoch in net.epochs)
        trained = {"value": net.accuracy, "data": f"{self.data.name}, validation", "epochs": len(net.epochs)}
        trained |= {"seconds": round(seconds, 1), "plateau": net.plateau}
        with self.log.phase("export"):
            example = self.data.prepared(self.data.validation.images_NCHW[:2])
            content = export(net.module, [example], [INPUT], [OUTPUT])
            return write(
                folder, content, self.manifest(name, parent, net.module, accuracy=trained), self.golden_inputs()
            )

    def _state_file(self, folder: Path, network: str = "") -> Path:
        """Of a training, beside the artifact until that is there."""
        return folder.with_name(f"{folder.name}.{network}{TRAINING}")

    def _begun(self, folder: Path) -> str:
        """The network of a training that was stopped, or ""."""
        found = [path.name for path in folder.parent.glob(f"{folder.name}.*{TRAINING}")]
        return found[0].removeprefix(f"{folder.name}.").removesuffix(TRAINING) if found else ""

    def _measured(self, choice: CandidateChoice, artifact: Artifact) -> CandidateResult:
        """In the fastest runtime of those in which it is right often enough; else in the fastest."""
        ways = {f"{way.runtime} {way.precision}": way for way in self.ways(artifact)}
        times = self.timed({"": self.reference_way, **ways})
        smaller = self.teacher_artifact.bytes / artifact.bytes
        found = []
        for name in sorted(ways, key=lambda name: times[name].p50_ms):
            right = measure.right(ways[name].session, self.data, self.data.validation)
            share, kept, faster = (
                measure.share(right),
                measure.kept(self.teacher_right, right),
                ratio(times[""], times[name]),
            )
            refusals = self.recipe.gates.refusals(smaller, kept, faster)
            way = ways[name]
            found.append(
                CandidateResult(
                    self.number,
                    choice,
                    artifact,
                    share,
                    kept,
                    smaller,
                    way.runtime,
                    way.precision,
                    times[name],
                    faster,
                    refusals,
                )
            )
        return next((candidate for candidate in found if not candidate.refusals), found[0])

    def _listener(self, run: CandidateRun) -> train.TrainingListener:
        steps = 0

        def on_step(step: train.StepResult) -> None:
            nonlocal steps
            steps = step.number
            if step.number % LOGGED_EVERY == 0:
                run.scalars(step.number, {"train/loss": step.loss})

        def on_epoch(epoch: EpochResult) -> None:
            run.scalars(steps, {"val/acc": epoch.accuracy, "train/lr": epoch.rate})
            self.say(
                f"{run.name}, epoch {epoch.number}: {100 * epoch.accuracy:.2f}% on the validation, {epoch.seconds:.1f} s"
            )

        return train.TrainingListener(on_step, on_epoch)

    def _run(self, name: str, config: dict[str, Any]) -> CandidateRun:
        return CandidateRun(f"{self.log.run}/{name}", config)

    def _report(self, run: CandidateRun, values: dict[str, float]) -> None:
        self.log.scalars(self.number, values)
        try:
            run.write(self.recipe.logs, values)
        except OSError as error:  # its numbers are in this run, too
            self.say(f"{run.name} cannot be written: {error}", "WARNING")


def measured_row(way: ModelWay, times: CallTimes, threads: int, date: str) -> dict[str, Any]:
    """For a manifest."""
    return {
        "runtime": way.runtime,
        "precision": way.precision,
        "threads": threads,
        "host": pick.processor(),
        "p50_ms": round(times.p50_ms, 4),
        "p99_ms": round(times.p99_ms, 4),
        "cpu_ms": round(times.cpu_ms, 4),
        "calls": times.calls,
        "date": date,
    }
