"""Two runs of one project, the second with the first one's name."""

import math
import os

from telling import LOGS, half, tell

os.environ["TRACKIO_DIR"] = str(LOGS / "trackio")

import trackio
from trackio.sqlite_storage import SQLiteStorage


def main() -> None:
    told, configs = {}, {}
    for turn in range(2):
        run = trackio.init(project="shop", name="small", config={"lr": 1e-3, "layers": [2, 4], "turn": turn})
        for step in range(30):
            trackio.log(
                {"train/loss": 1 / (1 + step), "nested": {"lr": 0.1 * step}, "odd": math.nan if step % 2 else math.inf}
            )
            if step == 14 and not turn:
                half()
        trackio.log({"val/acc": 0.75}, step=100)
        trackio.finish()
        name = f"trackio/shop/small-{run.id[:8]}" if turn else "trackio/shop/small"
        told[name], configs[name] = read_back(run.id), {"lr": 1e-3, "layers": [2, 4], "turn": turn}
    tell(told, configs)


def read_back(run_id: str) -> dict[str, list[tuple[int | None, float]]]:
    series: dict[str, list[tuple[int | None, float]]] = {}
    for row in SQLiteStorage.get_logs("shop", "small", run_id=run_id):
        for name, value in {**row, "nested/lr": row.get("nested", {}).get("lr")}.items():
            if name not in ("step", "timestamp", "nested") and value is not None:
                series.setdefault(name, []).append((row["step"], value))
    return series


if __name__ == "__main__":
    main()
