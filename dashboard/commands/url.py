"""`deepseek-dashboard url`: a new link to the dashboard that runs, good for one log-in of its owner."""

from __future__ import annotations

import argparse
import shlex

from access.files import Unwritable
from access.program import Command, UsageError
from collectors.log_folders import add_place

from .. import address
from .token import data_dir


def arguments(parser: argparse.ArgumentParser) -> None:
    add_place(parser)


def run(parsed: argparse.Namespace) -> int:
    from access.tokens import DamagedTokens, TokenError

    folder = data_dir(parsed)
    url = address.public_of(folder)
    if url is None:
        raise UsageError(
            f"no dashboard runs over {folder}; start one with: deepseek-dashboard {options(parsed)}".rstrip()
        )
    try:
        print(one_use_link(folder, url))
    except (DamagedTokens, TokenError, Unwritable) as error:
        raise UsageError(str(error)) from None
    return 0


def options(parsed: argparse.Namespace) -> str:
    """Those with which the folders were named."""
    given = [*(("--log-dir", folder) for folder in parsed.log_dir or ()), ("--data-dir", parsed.data_dir)]
    return " ".join(f"{flag} {shlex.quote(str(folder))}" for flag, folder in given if folder)


def one_use_link(folder: object, url: str) -> str:
    """Raises DamagedTokens, TokenError, Unwritable."""
    import secrets
    import time
    from pathlib import Path

    from access.roles import Role
    from access.tokens import CODE_S, Tokens

    from ..auth import link_of

    secret = Tokens(Path(str(folder))).new(f"link-{secrets.token_hex(4)}", Role.OWNER, time.time() + CODE_S, {}, "code")
    return link_of(url, secret)


COMMAND = Command("url", "Print a new log-in link to the running dashboard, for its owner.", arguments, run)
