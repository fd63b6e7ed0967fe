"""A collector in small: follows the process whose id it is given with the native sampler, until it is killed.

Prints `ready` when the first stacks have come, else why they do not; then the sampler's own process id.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from collectors.machine.proc import start_ticks
from collectors.sampler import Target
from collectors.sampler.native import NativeSampler

if __name__ == "__main__":
    pid = int(sys.argv[1])
    sampler = NativeSampler("box")
    sampler.follow([Target("run", 0, pid, start_ticks(pid) or 0, "main", 100.0)])
    said = False
    while os.getppid() > 1:
        found = [*sampler.profiles()]
        troubles = [*sampler.troubles().values()]
        if not said and (found or troubles):
            said = True
            print("ready" if found else f"{troubles[0].sentence} | {troubles[0].remedy}", flush=True)
            print(sampler.pid, flush=True)
        time.sleep(0.05)
    sampler.close()
