"""`deepseek-models token new NAME --model clothes --rate 100`: who may ask a server's models; secrets are shown once and kept as hashes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from access.program import Command, amount


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="create a token and print it once")
    new.add_argument("name", metavar="NAME", help="by which it is listed and revoked: letters, digits, dots, dashes")
    new.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="that it may ask; may be repeated (default: all)"
    )
    new.add_argument(
        "--rate", type=amount, default=0.0, metavar="N", help="requests a second, at most (default: no limit)"
    )
    new.add_argument(
        "--days", type=amount, default=30.0, metavar="N", help="after which it is over; 0: never (default: 30)"
    )
    new.add_argument("--manage", action="store_true", help="it may also have models loaded anew")
    others = [
        new,
        actions.add_parser("list", help="list names, models, rates and expiry"),
        actions.add_parser("revoke", help="revoke a token immediately"),
    ]
    others[-1].add_argument("name", metavar="NAME")
    for action in others:
        action.add_argument(
            "--tokens",
            type=Path,
            metavar="FOLDER",
            help="where they are kept (default: ~/.local/state/deepseek-models)",
        )


def run(parsed: argparse.Namespace) -> int:
    from ..serving import access
    from ..serving.access import MANAGES, MODELS, RATE

    folder = parsed.tokens or access.token_folder()
    if parsed.action == "new":
        print(access.new_token(folder, parsed.name, parsed.model, parsed.rate, parsed.days, parsed.manage))
    elif parsed.action == "revoke":
        access.revoke(folder, parsed.name)
        print(f"{parsed.name} is over")
    else:
        for found in access.listed(folder):
            models = ",".join(map(str, found.scopes.get(MODELS, ["all models"])))
            rate = f"{found.scopes[RATE]:g}/s" if RATE in found.scopes else "any rate"
            end = "never" if found.expires_s is None else time.strftime("%Y-%m-%d", time.localtime(found.expires_s))
            print(
                f"{found.name:<24} {models:<32} {rate:<12} ends {end}{'  manages' if found.scopes.get(MANAGES) else ''}"
            )
    return 0


COMMAND = Command("token", "Create, list and revoke access tokens of a model server.", arguments, run)
