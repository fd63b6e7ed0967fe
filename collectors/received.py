"""Where the files lie that other hosts hand over: known to the web process, which writes them, and to what follows them.

`<log-dir>/.remote/<writer>/<run>/metrics.jsonl` is of the run `.remote/<writer>/<run>`. What such files say of processes and folders
is true of another host: here it names nothing.
"""

from __future__ import annotations

FOLDER = ".remote"  # of the log folder
BY_OTHERS = -1  # the user who owns them: none of this host


def is_received(run: str) -> bool:
    """Also where several log folders are followed: `runs/.remote/local/a`."""
    return f"/{FOLDER}/" in f"/{run}"
