"""The same calls of wandb, any of them that are allowed, through wandb or through our module of its calls.

wandb_calls.py LOGS wandb|deepseek.log.adapters.wandb
"""

import importlib
import os
import random
import sys
from pathlib import Path

CALLS = 300


def main() -> None:
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    Path(sys.argv[1]).mkdir(exist_ok=True)
    wandb = importlib.import_module(sys.argv[2])
    chance = random.Random(1)
    run = wandb.init(
        project="shop", name="run", dir=sys.argv[1], config={"lr": 0.1}, settings=wandb.Settings(x_disable_stats=True)
    )
    top = 0
    for call in range(CALLS):
        data = {name: call + chance.random() for name in chance.sample(["a", "b", "c"], chance.randint(1, 3))}
        data |= {"nested": {"deep": {"er": float(call)}}} if call % 7 == 0 else {}
        step = None if chance.random() < 0.6 else max(0, top + chance.randint(-2, 3))
        top = max(top, step or 0)
        run.log(data, step=step, commit=chance.choice([None, None, True, False]))
    wandb.config.update({"batch": 8})
    run.finish()


if __name__ == "__main__":
    main()
