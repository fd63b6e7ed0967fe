"""The dashboard's command (dashboard/commands/).

deepseek-dashboard --port 8080 --log-dir ./logs
deepseek-dashboard store check --log-dir ./logs
deepseek-dashboard profile --pid 4127 --seconds 10
python app.py --demo
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parent)
)  # installed, the packages lie beside this file in the namespace `deepseek`

from dashboard.commands import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
