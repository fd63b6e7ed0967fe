"""A thread logs to a slow place and keeps the handler's lock, which every step's own line of log waits for: `SlowPlace.write` is to blame."""

import logging
import threading
import time

from loop import Step, begin, lossy, train
from work import forward

LOGGER = logging.getLogger("job")


class SlowPlace:
    def write(self, text: str) -> None:
        if "heartbeat" in text:
            time.sleep(0.05 if lossy() else 0.001)

    def flush(self) -> None:
        pass


def report_health() -> None:
    while True:
        LOGGER.info("heartbeat")
        time.sleep(0.004)


def step(step: Step) -> None:
    with step.clock.phase("log"), step.clock.lost():
        LOGGER.info("step %d", step.number)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    LOGGER.addHandler(logging.StreamHandler(SlowPlace()))
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    begin()
    threading.Thread(target=report_health, name="health", daemon=True).start()
    train(step)
