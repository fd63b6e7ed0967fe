"""Runs in MLflow's file store: one that finishes, one that fails."""

import math
import os
from pathlib import Path

from telling import LOGS, half, tell

os.environ |= {"MLFLOW_ALLOW_FILE_STORE": "true", "GIT_PYTHON_REFRESH": "quiet"}

import mlflow
from mlflow.tracking import MlflowClient


def main(uri: str, above: str, second: str) -> None:
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("first try")
    with mlflow.start_run(run_name="small") as run:
        mlflow.log_params({"lr": 1e-3, "net/layers": "[2, 4]"})
        for step in range(20):
            mlflow.log_metrics({"train/loss": 1 / (1 + step), "odd": math.nan if step % 2 else -1e-300}, step=step)
            if step == 9:
                half()
        mlflow.log_metric("val acc", 0.75, step=100)
    try:
        with mlflow.start_run(run_name=second) as failed:
            mlflow.log_metric("train/loss", 2.5)
            raise ValueError
    except ValueError:
        pass
    other = failed.info.run_id
    names = {
        f"{above}/first try/small": run.info.run_id,
        f"{above}/first try/{f'small-{other[:8]}' if second == 'small' else second}": other,
    }
    client = MlflowClient()
    told, configs = {}, {}
    for name, id_ in names.items():
        data = client.get_run(id_).data
        told[name] = {
            key: [(point.step, point.value) for point in client.get_metric_history(id_, key)] for key in data.metrics
        }
        configs |= {name: dict(data.params)} if data.params else {}
    tell(told, configs)


if __name__ == "__main__":
    main(Path(LOGS / "mlruns").as_uri(), "mlruns", "broken")
