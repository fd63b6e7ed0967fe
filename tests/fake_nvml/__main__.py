"""Build the fake library with eight GPUs into a folder, and print the environment that shows them.

env $(python -m tests.fake_nvml FOLDER) python app.py --log-dir ./logs
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import eight_gpus, environment

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m tests.fake_nvml FOLDER")
    print(" ".join(f"{name}={value}" for name, value in environment(Path(sys.argv[1]).resolve(), eight_gpus()).items()))
