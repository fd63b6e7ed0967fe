"""Two evaluations of a model that answers at random, over a task made here, by lm-evaluation-harness."""

import json
import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
import lm_eval
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager
from telling import LOGS, half, tell

TASK = """
task: evens
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Is {{{{number}}}} even?"
doc_to_choice: ["yes", "no"]
doc_to_target: answer
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


def main() -> None:
    folder = Path("task").absolute()
    folder.mkdir()
    rows = ({"number": number, "answer": number % 2} for number in range(40))
    (folder / "evens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "evens.yaml").write_text(TASK.format(file=folder / "evens.jsonl"))
    series: dict[str, list[tuple[int | None, float]]] = {}
    for turn in range(2):
        for name, value in evaluated(folder, turn).items():
            if isinstance(value, float):
                series.setdefault(f"evens/{name.removesuffix(',none')}", []).append((None, value))
        if turn == 0:
            half()
    (run,) = {path.parent for path in LOGS.rglob("results_*.json")}
    tell({str(run.relative_to(LOGS)): series})


def evaluated(folder: Path, seed: int) -> dict[str, Any]:
    tracker = EvaluationTracker(output_path=str(LOGS / "scores"))
    found = lm_eval.simple_evaluate(
        model="dummy",
        model_args="pretrained=tiny",
        tasks=["evens"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        random_seed=seed,
        evaluation_tracker=tracker,
    )
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    tracker.save_results_samples("evens", samples["evens"])
    scores: dict[str, Any] = found["results"]["evens"]
    return scores


if __name__ == "__main__":
    main()
