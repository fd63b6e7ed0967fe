"""Forks two children, which compute in `child_work`, and waits for them in `parent_wait`. Prints their ids after `ready`."""

import os


def child_work() -> None:
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
    print("ready", flush=True)
    print(*children, flush=True)
    parent_wait(children)
