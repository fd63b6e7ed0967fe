"""The same runs in MLflow's SQLite database, both with one name."""

import mlflow_files
from telling import LOGS

if __name__ == "__main__":
    mlflow_files.main(f"sqlite:///{LOGS / 'mlflow.db'}", "mlflow", "small")
