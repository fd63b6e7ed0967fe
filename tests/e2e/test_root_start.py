"""How a dashboard of root starts: where its data go, and when it needs `--as-root`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collectors import folders
from tests.support.two_users import NOBODY, ROOT, needs_root
from tests.support.two_users import logs as logs  # fixtures
from tests.support.two_users import narrow as narrow

pytestmark = needs_root


def test_the_data_folder_is_where_no_other_user_can_exchange_it(
    logs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert folders.data_dir_of(logs) == logs / ".deepseek"
    for odd in (logs / "theirs", logs / "ours"):
        (logs / "ours").chmod(0o777)
        assert folders.data_dir_of(odd).is_relative_to(tmp_path / "state") and folders.relocation_reason(odd)
    monkeypatch.setattr(folders, "SHARED", tmp_path / "shared")
    (tmp_path / "shared" / "0").mkdir(parents=True)
    os.chown(tmp_path / "shared" / "0", NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="another user may write"):
        folders.make_private(tmp_path / "shared" / "0" / "deepseek-dashboard" / "a")


def test_root_of_a_namespace_with_one_user_is_like_any_user() -> None:
    """Such a root has that user's rights over files, and no others."""
    code = "from collectors import rights; print(rights.is_root(), rights.leaves_others_alone())"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "True True\n"
    )
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if "unshare" in done.stderr:
        pytest.skip("user namespaces are forbidden here")
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    ("mode", "uid", "why"),
    [(0o755, NOBODY, "belongs to "), (0o777, 0, "can be written by other users"), (0o775, 0, "can be written")],
)
def test_a_log_folder_that_is_not_roots_alone_needs_the_flag(mode: int, uid: int, why: str, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    logs.chmod(mode)
    os.chown(logs, uid, uid)
    done = subprocess.run(
        [sys.executable, ROOT / "app.py", "--log-dir", logs, "--port", "0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"{logs} {why}" in done.stderr and "--as-root" in done.stderr
    assert not [*logs.iterdir()], "nothing is made there"


def test_the_flag_is_for_root(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import app, dashboard.commands.serve as s, argparse, os; os.setuid({NOBODY}); s.run(argparse.Namespace(as_root=True))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert "--as-root is for root" in done.stderr
