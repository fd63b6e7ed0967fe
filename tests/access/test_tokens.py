"""The file of tokens: what it keeps, its damage, many writers; and the audit beside it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from access.roles import Role
from access.tokens import MAX_BROWSERS, SECRET, DamagedTokens, TokenError, Tokens, hash_of, read
from dashboard.audit import MAX_BYTES, Audit
from tests.support.other_clients import NOBODY, rows

JSON = some.recursive(
    some.none() | some.booleans() | some.floats() | some.integers() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=8,
)


def test_a_secret_has_256_bits_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    secrets = {tokens.new(f"t{number}", Role.VIEWER, None, {}) for number in range(20)}
    assert len(secrets) == 20 and all(SECRET.fullmatch(secret) for secret in secrets)
    kept = tokens.path.read_text()
    assert not any(secret in kept or secret[4:] in kept for secret in secrets)
    assert all(hash_of(secret) in kept for secret in secrets)
    assert tokens.path.stat().st_mode & 0o777 == 0o600


def test_another_process_sees_a_change_at_once(tmp_path: Path) -> None:
    ours, theirs = Tokens(tmp_path), Tokens(tmp_path)
    secret = theirs.new("a", Role.OWNER, None, {})
    assert ours.found(secret, "token")
    new = theirs.rotate("a")
    assert not ours.found(secret, "token") and ours.found(new, "token")
    theirs.revoke("a")
    assert not ours.found(new, "token")
    ours.path.unlink()
    assert not theirs.all()


def test_rights_that_change_count_at_once(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    secret = tokens.new("a", Role.OWNER, None, {})
    assert tokens.found(secret, "token")
    tokens.path.chmod(0o644)
    assert tokens.found(secret, "token") is None and "chmod 600" in tokens.trouble
    tokens.path.chmod(0o600)
    assert tokens.found(secret, "token") and not tokens.trouble


def test_a_token_ends_at_its_time_and_a_session_with_its_token(tmp_path: Path) -> None:
    now = [1000.0]
    tokens = Tokens(tmp_path, lambda: now[0])
    secret = tokens.new("a", Role.VIEWER, 1100.0, {"grants": ["source"]})
    begun = tokens.redeem(secret)
    assert begun and begun[1].expires_s == 1100.0 and begun[1].scopes == {"grants": ["source"]}
    now[0] = 1099.0
    assert tokens.found(secret, "token") and tokens.found(begun[0], "session")
    now[0] = 1100.0
    assert not tokens.found(secret, "token") and not tokens.found(begun[0], "session") and tokens.redeem(secret) is None


def redeem(folder: Path, secret: str, found: Any) -> None:
    found.put(Tokens(folder).redeem(secret) is not None)


def test_a_code_is_redeemed_once_by_however_many(tmp_path: Path) -> None:
    secret = Tokens(tmp_path).new("code", Role.OWNER, time.time() + 60, {}, "code")
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    children = [context.Process(target=redeem, args=(tmp_path, secret, found)) for _ in range(6)]
    for child in children:
        child.start()
    answers = [found.get(timeout=30) for _ in children]
    for child in children:
        child.join()
    assert answers.count(True) == 1


def test_many_changes_at_once_lose_none(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    threads = [threading.Thread(target=tokens.new, args=(f"t{number}", Role.VIEWER, None, {})) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.name for each in tokens.all()} == {f"t{number}" for number in range(24)}


@pytest.mark.parametrize(
    "how", ["open", "link", "fifo", "folder", "huge", "deep", "half", "list", "twice", "role", "other user"]
)
def test_a_file_that_we_would_not_have_written_lets_no_token_in(tmp_path: Path, how: str) -> None:
    tokens = Tokens(tmp_path)
    secret = tokens.new("a", Role.OWNER, None, {})
    text = tokens.path.read_text()
    row = json.loads(text)["credentials"][0]
    match how:
        case "open":
            tokens.path.chmod(0o644)
        case "link":
            tokens.path.rename(tmp_path / "elsewhere")
            tokens.path.symlink_to(tmp_path / "elsewhere")
        case "fifo" | "folder":
            tokens.path.unlink()
            os.mkfifo(tokens.path) if how == "fifo" else tokens.path.mkdir()
        case "huge":
            tokens.path.write_text(text + " " * (2 << 20))
        case "deep":
            tokens.path.write_text("[" * 100_000)
        case "half":
            tokens.path.write_text(text[: len(text) // 2])
        case "list":
            tokens.path.write_text("[]")
        case "twice":
            tokens.path.write_text(json.dumps({"credentials": [row, row]}))
        case "role":
            tokens.path.write_text(json.dumps({"credentials": [{**row, "role": "anyone"}]}))
        case _:
            if os.geteuid() != 0:
                pytest.skip("only root may give a file away")
            os.chown(tokens.path, NOBODY, NOBODY)
    assert tokens.found(secret, "token") is None and str(tokens.path) in tokens.trouble
    for change in (lambda: tokens.new("b", Role.VIEWER, None, {}), lambda: tokens.revoke("a"), tokens.all):
        with pytest.raises(DamagedTokens, match=re.escape(str(tokens.path))):
            change()


@given(
    some.binary(max_size=300)
    | JSON.map(lambda value: json.dumps({"credentials": [value]}).encode())
    | JSON.map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_damage_or_a_list(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "tokens.json"
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        assert isinstance(read(path), list)
    except DamagedTokens as error:
        assert str(path) in str(error) and "\n" not in str(error)[:60]


@given(some.sampled_from(["name", "kind", "role", "hash", "created_s", "expires_s", "scopes", "of"]), JSON)
def test_any_value_of_a_field_is_damage_or_means_no_more_than_before(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("field")
    tokens = Tokens(folder)
    secret = tokens.new("a", Role.VIEWER, None, {})
    row = {**json.loads(tokens.path.read_text())["credentials"][0], field: value}
    tokens.path.write_text(json.dumps({"credentials": [row]}))
    found = tokens.found(secret, "token")
    assert found is None or found.role is Role.VIEWER


@pytest.mark.parametrize("name", ["", ".", "../a", "a/b", "local", "a b", "x" * 65, "-a", "a\n"])
def test_a_name_is_one_of_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(TokenError):
        Tokens(tmp_path).new(name, Role.WRITER, None, {})


def test_the_audit_is_bounded_and_follows_no_link(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    for _ in range(3 * MAX_BYTES // 900):
        audit.add("w" * 400, "127.0.0.1", "POST " + "x" * 2000)
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) == 2 and sum(sizes) <= 2 * MAX_BYTES + 4096
    assert len(rows(tmp_path / "audit.jsonl")[0]["what"]) == 500
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "audit.jsonl").symlink_to(tmp_path / "target")
    Audit(tmp_path / "other").add("a", "b", "c")
    assert not (tmp_path / "target").exists()


def test_log_ins_do_not_push_changes_out_of_the_audit(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.add("uid 1000", "127.0.0.1", "POST /api/v1/settings")
    for _ in range(2000):
        audit.add_once("view", "192.0.2.7", "log-in as viewer")
    audit.add_once("view", "192.0.2.8", "log-in as viewer")
    assert [row["from"] for row in rows(tmp_path / "audit.jsonl")] == ["127.0.0.1", "192.0.2.7", "192.0.2.8"]


def test_browsers_of_a_token_make_room_for_each_other(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    mine = tokens.redeem(tokens.new("mine", Role.OWNER, None, {}))
    theirs = tokens.new("theirs", Role.VIEWER, None, {})
    begun = [tokens.redeem(theirs) for _ in range(MAX_BROWSERS + 3)]
    assert mine and tokens.found(mine[0], "session")
    assert [found is not None and tokens.found(found[0], "session") is not None for found in begun] == [False] * 3 + [
        True
    ] * MAX_BROWSERS
