"""`deepseek-dashboard token new colleague --days 7`: tokens by which others reach a dashboard, shown once and kept as hashes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from access.files import Unwritable
from access.program import Command, UsageError
from collectors.log_folders import add_place, place_of

from .. import address
from .command import make_folder, typeable

DAY_S = 86400.0
MAX_DAYS = 3650.0


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="create a token and print it once")
    new.add_argument("name", metavar="NAME", help="by which it is listed and revoked: letters, digits, dots, dashes")
    new.add_argument(
        "--role",
        choices=["viewer", "owner", "writer"],
        default="viewer",
        help="viewer reads; owner reads and changes everything; writer hands over runs and reads nothing (default: viewer)",
    )
    new.add_argument(
        "--days", type=days, default=30.0, metavar="N", help="after which it is over; 0: never (default: 30)"
    )
    new.add_argument(
        "--grant",
        action="append",
        default=[],
        choices=["source", "exports", "processes", "details"],
        help="what a viewer sees besides; may be repeated. details: command lines, configurations and paths in full",
    )
    new.add_argument(
        "--runs", default="", metavar="PREFIX", help="of a writer: how the names of its runs begin (default: any)"
    )
    add_place(new)
    listed = actions.add_parser("list", help="list tokens and logged-in browsers, with roles and expiry")
    add_place(listed)
    for action, text in (
        ("revoke", "revoke a token and close its connections within two seconds"),
        ("rotate", "replace a token's secret and print the new one"),
    ):
        other = actions.add_parser(action, help=text)
        other.add_argument("name", metavar="NAME")
        add_place(other)


def days(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days; give 0 (never expires) to {MAX_DAYS:g}")
    return found


def run(parsed: argparse.Namespace) -> int:
    from access.roles import Role
    from access.tokens import DamagedTokens, TokenError, Tokens

    from ..audit import Audit

    folder = data_dir(parsed)
    tokens, audit = Tokens(folder), Audit(folder)
    try:
        match parsed.action:
            case "new":
                expires_s = time.time() + parsed.days * DAY_S if parsed.days else None
                print(secret := tokens.new(parsed.name, Role(parsed.role), expires_s, scopes(parsed)))
                print_address(folder, secret, parsed.role)
            case "rotate":
                print(secret := tokens.rotate(parsed.name))
                print_address(folder, secret, next(each.role for each in tokens.all() if each.name == parsed.name))
            case "revoke":
                ended = tokens.revoke(parsed.name)
                print(f"{parsed.name} is revoked{f', with {ended} browsers' if ended else ''}")
            case _:
                print(typeable("\n".join(rows(tokens))))
                return 0
    except (DamagedTokens, TokenError, Unwritable) as error:
        raise UsageError(str(error)) from None
    audit.add(user(), "command line", f"token {parsed.action} {parsed.name}")
    return 0


def print_address(folder: Path, secret: str, role: str) -> None:
    """Where a dashboard shows this folder; on stderr, so that `$(deepseek-dashboard token new NAME)` is the token alone."""
    from ..auth import link_of

    if role == "writer" or (url := address.public_of(folder)) is None:
        return
    print(f"open it in a browser with {link_of(url, secret)}", file=sys.stderr)


def data_dir(parsed: argparse.Namespace) -> Path:
    """That of a dashboard; below a log folder it is made where it does not exist. Raises UsageError."""
    place = place_of(parsed)
    flag, named = (
        ("--data-dir", [parsed.data_dir]) if parsed.data_dir else ("--log-dir", parsed.log_dir or place.folders)
    )
    missing = next((folder for folder in named if not folder.is_dir()), None)
    if missing is not None:
        raise UsageError(f"there is no folder {missing}; name the one of the dashboard with {flag}")
    found = place.data_dir
    make_folder(found, "--data-dir", private=True)
    return found


def scopes(parsed: argparse.Namespace) -> dict[str, Any]:
    """Raises UsageError where they do not fit the role."""
    if parsed.runs and parsed.role != "writer":
        raise UsageError("--runs is for --role writer: a viewer sees all runs")
    if parsed.grant and parsed.role != "viewer":
        raise UsageError("--grant is for --role viewer")
    return {**({"runs": parsed.runs} if parsed.runs else {}), **({"grants": parsed.grant} if parsed.grant else {})}


def rows(tokens: Any) -> list[str]:
    """`colleague  viewer  until 2026-12-27 14:30  source  2 browsers`"""
    found = tokens.all()
    lines = []
    for each in found:
        if each.kind == "session" and each.of:
            continue
        browsers = sum(other.of == each.name for other in found)
        until = (
            time.strftime("until %Y-%m-%d %H:%M", time.localtime(each.expires_s)) if each.expires_s else "never over"
        )
        scope = " ".join(
            [*each.scopes.get("grants", ()), *([f"runs {each.scopes['runs']}*"] if each.scopes.get("runs") else [])]
        )
        view = str(each.scopes.get("view", ""))
        parts = [
            each.name,
            each.role,
            each.kind if each.kind != "token" else "",
            until,
            scope,
            view,
            f"{browsers} browsers" if browsers else "",
        ]
        lines.append("  ".join(part for part in parts if part))
    return lines or ["there are no tokens; make one with: deepseek-dashboard token new NAME"]


def user() -> str:
    import os

    return f"uid {os.geteuid()}"


COMMAND = Command("token", "Create, list, revoke and rotate access tokens for others.", arguments, run)
