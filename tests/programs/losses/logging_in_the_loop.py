"""Every step writes hundreds of lines to a log: `log_tensors` is to blame, deep inside `logging`."""

import logging
import tempfile

from loop import Step, train
from work import forward

LOGGER = logging.getLogger("tensors")


def log_tensors(lines: int) -> None:
    for i in range(lines):
        LOGGER.info("tensor %d: mean %.4f, std %.4f", i, i * 0.5, i * 0.25)


def step(step: Step) -> None:
    with step.clock.phase("log"), step.clock.lost():
        log_tensors(2000 if step.lossy else 10)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    handler = logging.StreamHandler(tempfile.TemporaryFile("w"))  # noqa: SIM115
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    train(step)
