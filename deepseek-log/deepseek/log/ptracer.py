"""Let any process of the same user attach to this one, for a profiler that did not start it.

Where /proc/sys/kernel/yama/ptrace_scope is 1, as on Ubuntu, only ancestors may. The permission holds for one process, so each
fork repeats it; a new process, e.g. of multiprocessing's `spawn`, must call `allow_any` itself.
"""

from __future__ import annotations

import functools
import os
import sys

PR_SET_PTRACER = 0x59616D61  # from <linux/prctl.h>
PR_SET_PTRACER_ANY = -1


@functools.cache
def allow_any() -> None:
    if sys.platform == "linux":
        _allow()
        os.register_at_fork(after_in_child=_allow)


def _allow() -> None:
    """A kernel without Yama refuses the call, and needs no permission."""
    import ctypes  # 10 ms, for those only who ask

    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(PR_SET_PTRACER_ANY), 0, 0, 0)
