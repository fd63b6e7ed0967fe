"""Threads, functions and files of names that are no text: broken UTF-8, line ends, quotes, characters that cannot be."""

import _thread
import ctypes
import threading
import time

PR_SET_NAME = 15
NAMES = (b"\xff\xfe\xfd", b"a\nb\x01\x1b[31m", b"\xf4\x90\x80\x80", b"cut \xe2\x82", b'"],["reset"]\n', b"")
ODD = ("\udcff\ud800", "two\nlines\t\x7f", '"]\n["gone",1]\n', "\U0010ffff\0end", "")
TOO_HIGH = 0x110000 + 5  # above the last code point that there is


def nap(name: bytes) -> None:
    ctypes.CDLL(None).prctl(PR_SET_NAME, name, 0, 0, 0)
    time.sleep(3600)


def impossible() -> str:
    """A str that holds a number which is no character: what a broken extension may leave."""
    text = "".join(["\U0001f600", "x", chr(0x1F601)])
    size = len(text) * 4 + 4
    at = id(text) + text.__sizeof__() - size
    ctypes.c_uint32.from_address(at).value = TOO_HIGH
    return text


def work_in(file: str) -> None:
    scope: dict[str, object] = {}
    source = "def work():\n    import time\n    while True:\n        time.sleep(0.001)\n"
    exec(compile(source, "odd.py", "exec"), scope)
    work = scope["work"]
    work.__code__ = work.__code__.replace(co_qualname=file, co_filename=file)  # type: ignore[attr-defined]
    work()  # type: ignore[operator]


if __name__ == "__main__":
    for name in NAMES:
        _thread.start_new_thread(nap, (name,))
    for odd in (*ODD, impossible()):
        threading.Thread(target=work_in, args=(odd,), name=odd, daemon=True).start()
    time.sleep(0.2)
    print("ready", flush=True)
    time.sleep(3600)
