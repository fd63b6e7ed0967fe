"""Two workers, started by the method that the first argument names, compute in `crunch`; their pids follow `ready`."""

import multiprocessing
import sys
import time


def crunch() -> None:
    until_s = time.monotonic() + 3600
    while time.monotonic() < until_s:
        pass


def wait_for_workers(workers: list[multiprocessing.Process]) -> None:
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    found = [context.Process(target=crunch, name=f"loader {i}", daemon=True) for i in range(2)]
    for one in found:
        one.start()
    print("ready", flush=True)
    print(*(one.pid for one in found), flush=True)
    wait_for_workers(found)  # type: ignore[arg-type]
