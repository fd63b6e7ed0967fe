"""A thread that keeps statistics of what the training loop hands it."""

import queue
import threading


class Watcher:
    def __init__(self, capacity=4):
        self.inbox = queue.Queue(maxsize=capacity)
        self.summary = {}
        self.thread = threading.Thread(target=self.run, name="watcher", daemon=True)
        self.thread.start()

    def offer(self, values, quantiles):
        """Never waits: what does not fit is forgotten."""
        try:
            self.inbox.put_nowait((values, quantiles))
        except queue.Full:
            self.summary["forgotten"] = self.summary.get("forgotten", 0) + 1

    def run(self):
        while True:
            values, quantiles = self.inbox.get()
            self.summary.update(self.summarize(values, quantiles))

    def summarize(self, values, quantiles):
        """Quantiles without sorting: each is counted."""
        result = {}
        for turn in range(quantiles):
            bound = (turn + 0.5) / quantiles
            below = 0
            for value in values:
                if value < bound:
                    below += 1
            result[turn] = below / len(values)
        return result
