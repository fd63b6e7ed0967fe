"""The main thread sleeps in `wait_for_end`; every second another thread computes in `burst` for 0.2 s and ends."""

import threading
import time


def burst() -> None:
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        pass


def wait_for_end() -> None:
    while True:
        time.sleep(0.8)
        thread = threading.Thread(target=burst, name="burst")
        thread.start()
        thread.join()


if __name__ == "__main__":
    print("ready", flush=True)
    wait_for_end()
