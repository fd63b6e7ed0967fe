"""What the programs share: the loop's length, the run log where there is one, and the count of steps."""
import atexit
import json
import os
import time

SECONDS = float(os.environ.get("SECONDS", "10"))
FIXED = os.environ.get("FIXED") == "1"


class Loop:
    """Counts steps until SECONDS have passed; writes steps and seconds after the first fifth to STEPS."""

    def __init__(self, logs=True):
        self.begin = None
        self.steps = 0
        self.counted = None
        self.last = None
        self.logs = logs
        self.log = None
        self.owner = os.getpid()
        atexit.register(self.write)

    def __iter__(self):
        """Step numbers while there is time."""
        while self.running():
            yield self.steps
            self.done()

    def running(self):
        if self.begin is None:
            self.begin = time.monotonic()
            if self.logs and "LOG_DIR" in os.environ and "RUN" in os.environ:
                from deepseek.log import RunLog

                self.log = RunLog(os.environ["LOG_DIR"], run=os.environ["RUN"])
                self.begin = time.monotonic()
        return time.monotonic() - self.begin < SECONDS

    def done(self, **values):
        """A step has ended."""
        now = time.monotonic()
        if self.log is not None:
            self.log.scalars(self.steps, values or {"step/number": self.steps})
        self.steps += 1
        self.last = now
        if self.counted is None and now - self.begin >= 0.2 * SECONDS:
            self.counted = (self.steps, now)

    def write(self):
        if os.getpid() != self.owner or self.begin is None:
            return
        if self.log is not None:
            self.log.close()
        if "STEPS" in os.environ:
            steps, since = self.counted or (self.steps, self.last or self.begin)
            line = {"steps": self.steps - steps, "seconds": (self.last or since) - since}
            with open(os.environ["STEPS"], "w") as file:
                file.write(json.dumps(line) + "\n")
