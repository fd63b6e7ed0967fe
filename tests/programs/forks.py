"""Forks two children, which compute in `child_work`, and waits for them in `parent_wait`. Prints their ids after `ready`."""

import os

BEGUN, BEGINS = os.pipe()


def child_work() -> None:
    os.write(BEGINS, b".")
    while True:
        pass


def parent_wait(children: list) -> None:
    for child in children:
        os.waitpid(child, 0)


def fork() -> int:
    child = os.fork()
    if child == 0:
        child_work()
    return child


if __name__ == "__main__":
    children = [fork(), fork()]
    for _ in children:
        os.read(BEGUN, 1)  # on a busy machine a child may not run for a while
    print("ready", flush=True)
    print(*children, flush=True)
    parent_wait(children)
