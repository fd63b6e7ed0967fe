"""Lightning's CSVLogger, with a metric that comes later, read back by pandas."""

import pandas as pd
from lightning.pytorch.loggers import CSVLogger
from telling import LOGS, half, tell


def main() -> None:
    logger = CSVLogger(str(LOGS), name="light", version="first", flush_logs_every_n_steps=10)
    logger.log_hyperparams({"lr": 1e-3, "layers": [2, 4]})
    for step in range(40):
        logger.log_metrics({"train_loss": 1 / (1 + step), "epoch": step // 20}, step)
        if step % 20 == 19:
            logger.log_metrics({f"val_loss_{step // 20}": 0.5, "epoch": step // 20}, step)
            logger.save()
        if step == 19:
            half()
    logger.finalize("success")
    read = pd.read_csv(LOGS / "light" / "first" / "metrics.csv")
    series = {name: read[["step", name]].dropna() for name in read.columns if name != "step"}
    told = {
        name: [(int(step), float(value)) for step, value in rows.itertuples(index=False)]
        for name, rows in series.items()
    }
    tell({"light/first": told}, {"light/first": {"lr": 1e-3, "layers": [2, 4]}})


if __name__ == "__main__":
    main()
