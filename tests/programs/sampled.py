"""A collector in small: follows the process whose id it is given with py-spy, until it is killed."""

import os
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from collectors.machine.proc import start_ticks
from collectors.sampler import Target
from collectors.sampler.pyspy import PySpy

if __name__ == "__main__":
    pid = int(sys.argv[1])
    sampler = PySpy(socket.gethostname())
    sampler.follow([Target("run", 0, pid, start_ticks(pid) or 0, "main", 100.0)])
    said = False
    while os.getppid() > 1:
        found = [*sampler.profiles()]
        for trouble in sampler.troubles().values():
            print(trouble.sentence, "|", trouble.remedy, flush=True)
        if found and not said:
            said = True
            print("ready", flush=True)
        time.sleep(0.1)
    sampler.close()
