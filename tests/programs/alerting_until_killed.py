"""Findings and their delivery, until it is killed: `alerting_until_killed.py DATA_DIR MOST`. Ends once all was delivered."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from alerts import routing
from alerts.collector import AlertsCollector
from collectors.machine.finder import Finder
from collectors.records import Finding
from collectors.store.engines import open_store

routing.WAIT_S = 0.05


class NoProcesses(Finder):
    def found(self):
        return {}


def main(data_dir: Path, most: int) -> None:
    store = open_store(data_dir, write=True)
    collector = AlertsCollector(store, data_dir, NoProcesses("host"))
    print("ready", flush=True)
    many = len(store.findings())
    while True:
        now_s = time.time()
        found = []
        if many < most:
            found.append(
                Finding(f"crash-{many}", f"run{many}", "crash", "alert", now_s, now_s, True, "The run failed.")
            )
            found.append(Finding(f"hung-{many}", f"run{many}", "hung", "alert", now_s - 9, now_s, False, "It hangs."))
        if 10 < many <= most + 10:
            found.append(
                Finding(f"hung-{many - 11}", f"run{many - 11}", "hung", "alert", now_s - 99, now_s, True, "It hangs.")
            )
        many += 1
        if found:
            store.append(found)
            collector.take(found)
        collector.collect()
        if (
            many > most + 11
            and not collector._outbox.waiting()
            and not collector._desk._unseen
            and not collector._desk._ending
        ):
            break
        time.sleep(0.02)
    collector.close()
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
