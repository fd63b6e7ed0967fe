"""Processes of a run that call themselves strange names, are too many, or never keep still."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import ROOT
from tests.poisons import Place, Poison, Scene, there

HEAD = """
import ctypes, os, signal, subprocess, sys, threading, time
from deepseek.log import RunLog
def spin(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until: pass
def call_me(name):
    ctypes.CDLL(None).prctl(15, name, 0, 0, 0)
def named_thread(name):
    def work():
        call_me(name)
        while True: spin(0.005); time.sleep(0.02)
    threading.Thread(target=work, daemon=True).start()
log = RunLog(sys.argv[1], run=sys.argv[2])
log.scalars(1, {"x": 1.0}); log.scalars(2, {"x": 2.0})
time.sleep(0.2)
"""
THREAD_NAMES = """
for name in (b"\\xff\\xfe\\xe9", b"two\\nlines", b"<b>x</b>", b") R 1 (", b"\\xed\\xa0\\x80", b"\\x1b[31m", b"", b" ", b'"\\\\', "\\u202eab".encode()):
    named_thread(name)
call_me(b"\\xf4\\x90\\x80\\x80)")
while True: spin(0.01); time.sleep(0.02)
"""
FUNCTION_NAMES = """
names = ["<img src=x>", "a\\u202eb", "\\U0010ffff" * 20, "n" * 200_000, "\\ud800", "a\\nb", "a\\tb;c", "\\x00"]
def body(): spin(0.02)
calls = []
for name in names:
    code = body.__code__.replace(co_name=name, co_filename=name, co_qualname=name) if "\\x00" not in name else body.__code__.replace(co_name=name)
    calls.append(type(body)(code, globals()))
while True:
    for call in calls: call()
    time.sleep(0.02)
"""
DEEP = """
sys.setrecursionlimit(20_000)
def down(depth):
    if depth: down(depth - 1)
    else:
        while True: spin(0.01); time.sleep(0.03)
down(5000)
"""
MANY_THREADS = """
threading.stack_size(65536)
for _ in range(1500): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
while True: spin(0.01); time.sleep(0.05)
"""
FORKS = """
while True:
    child = os.fork()
    if not child: os._exit(0)
    os.waitpid(child, 0); time.sleep(0.01)
"""
CODE = """
number = 0
while True:  # new code at every turn: the sampler's tables may not grow with it
    number += 1
    scope = {"spin": spin}
    exec(compile(f"def made_{number}():\\n    spin(0.003)", f"<made {number}>", "exec"), scope)
    scope[f"made_{number}"]()
    time.sleep(0.002)
"""
ARGV = """
with open("/proc/self/stat", "rb"): pass
held = [open(f"{sys.argv[1]}/{sys.argv[2]}/held{i}.log", "a") for i in range(900)]
while True: spin(0.01); time.sleep(0.03)
"""
STOPPED = "os.kill(os.getpid(), signal.SIGSTOP)"
ZOMBIE = """
threading.Thread(target=time.sleep, args=(3600,)).start()
ctypes.CDLL(None).syscall(60, 0)  # the main thread alone ends: /proc has no maps of it any more
"""
EXECS = """
os.execv(sys.executable, [sys.executable, "-c", "import time\\nwhile True: time.sleep(0.01)", *["\\udcff" * 3000] * 20])
"""


def process(code: str) -> Place:
    """A script that logs as a run and then does this, ended with the poison."""

    @contextmanager
    def place(scene: Scene) -> Iterator[None]:
        command = [
            sys.executable,
            "-c",
            f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{HEAD}{code}",
            str(scene.log_dir),
            scene.name,
        ]
        with subprocess.Popen(command, start_new_session=True) as running:
            try:
                yield
            finally:
                running.kill()
        shutil.rmtree(scene.folder)

    return place


POISONS = [
    Poison("threads-names", "threads whose names are no text", process(THREAD_NAMES), there, quick=True, stays_s=4),
    Poison(
        "functions-names",
        "functions whose names are no text, or 200,000 letters",
        process(FUNCTION_NAMES),
        there,
        stays_s=4,
    ),
    Poison("deep-stack", "a stack of 5,000 frames", process(DEEP), there, stays_s=4),
    Poison("many-threads", "a process of 1,500 threads", process(MANY_THREADS), there, stays_s=4),
    Poison("forks", "a process that forks 50 times a second", process(FORKS), there, stays_s=4),
    Poison("new-code", "a process that makes new code at every step", process(CODE), there, stays_s=5),
    Poison("holds-900-files", "a process that holds 900 logs of its run open", process(ARGV), there, stays_s=4),
    Poison("stopped", "a process that is stopped", process(STOPPED), there, stays_s=4),
    Poison("main-thread-gone", "a process whose main thread has ended", process(ZOMBIE), there, stays_s=4),
    Poison(
        "execs", "a process that becomes another one, with arguments that are no text", process(EXECS), there, stays_s=4
    ),
]
