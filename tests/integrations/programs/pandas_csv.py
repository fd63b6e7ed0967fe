"""A history that a script writes with pandas, anew after each epoch, and reads back."""

import pandas as pd
from telling import LOGS, half, tell


def main() -> None:
    path = LOGS / "frame" / "history.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for epoch in range(60):
        rows.append(
            {
                "epoch": epoch,
                "loss": 1 / (3 + epoch),
                "val_acc": epoch / 7 if epoch % 5 == 0 else None,
                "scale": 2.0**-epoch,
            }
        )
        pd.DataFrame(rows).to_csv(path, index=False)
        if epoch == 29:
            half()
    read = pd.read_csv(path)
    series = {name: read[["epoch", name]].dropna() for name in read.columns if name != "epoch"}
    tell(
        {
            "frame": {
                name: [(int(step), float(value)) for step, value in kept.itertuples(index=False)]
                for name, kept in series.items()
            }
        }
    )


if __name__ == "__main__":
    main()
