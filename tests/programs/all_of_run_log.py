"""Everything that RunLog can do, and wandb's calls, on any Python that it supports; prints the run's folder.

python all_of_run_log.py LOG_DIR
"""

from __future__ import annotations

import logging
import os
import sys

import deepseek.log.adapters.wandb as wandb
from deepseek.log import RunLog, ptracer
from deepseek.trainer import run_log


def main(log_dir: str) -> None:
    with wandb.init(name="as-wandb", dir=log_dir, config={"lr": 0.1}) as run:
        run.log({"train": {"loss": 0.5}, "picture": wandb.Image(None)})
        wandb.config.seed = 7
    ptracer.allow_any()
    assert run_log.RunLog is RunLog  # by its former name, too
    with RunLog(
        log_dir, "run", config={"lr": 0.1, "odd": {1, 2}}, unit="batch", name="all", allow_profiling=True
    ) as log:
        logging.getLogger().addHandler(log.handler())
        for step in range(100):
            with log.phase("data"):
                pass
            log.scalars(step, {"loss": 1 / 3}, lr=0.5)
        log.scalars_at(1.5, 7, {"late": 2})
        log.scalars(100, {"text": "no number"})
        log.event("checkpoint", step=99, seconds=0.1)
        log.add_config({"seed": 7})
        log.text("said")
        logging.warning("logged")
        if (child := os.fork()) == 0:
            log.text("from the child")
            sys.exit(0)
        os.waitpid(child, 0)
        print(log.folder, flush=True)
        raise ValueError("bad batch")


if __name__ == "__main__":
    main(sys.argv[1])
