"""A launcher that starts the training as a child process and waits for it, as scripts for sweeps do."""

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    command = [sys.executable, str(Path(__file__).with_name("child_training.py")), sys.argv[1]]
    sys.exit(subprocess.run(command).returncode)
