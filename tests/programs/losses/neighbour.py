"""Other programs take the machine's cores: the same work takes longer, and no line of it is to blame."""

import os
import time
from pathlib import Path

from loop import Step, begin, lossy, train
from work import compute, forward


def stand_beside(trainer: int) -> None:
    """Two programs a core, none a child of the trainer's, until that one is gone."""
    if os.fork():
        os.wait()
        return
    for _ in range(2 * len(os.sched_getaffinity(0))):
        if not os.fork():
            while Path(f"/proc/{trainer}").exists():
                compute(0.01) if lossy() else time.sleep(0.01)
            break
    os._exit(0)


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        compute(0.02)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    begin()
    stand_beside(os.getpid())
    train(step)
