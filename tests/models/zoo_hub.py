"""Fetching from a hub: what is recorded, what is refused, and one sentence for each fault."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.zoo import table
from tests.models import fake_hub
from tests.models.fake_hub import FakeHub, FakeModel
from tests.models.running import Home

NAME, ID = "deepseek/gpt2-medium", "openai-community/gpt2-medium"
WEIGHTS = b"".join(hashlib.sha256(bytes([place])).digest() for place in range(256)) * 40  # 320 kB
FILES = {
    "config.json": b'{"model_type": "gpt2"}',
    "model.safetensors": WEIGHTS,
    "modeling_gpt2.py": b"raise SystemExit",
    "pytorch_model.bin": WEIGHTS,
}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub.running() as hub:
        hub.models[ID] = FakeModel(dict(FILES))
        yield hub


@pytest.fixture
def home(hub: FakeHub, tmp_path: Path) -> Home:
    return Home(tmp_path, hub.address)


def locked(home: Home) -> dict[str, dict[str, object]]:
    models: dict[str, dict[str, object]] = json.loads((home.data / "zoo.lock").read_text())["models"]
    return models


def test_the_first_fetch_records_revision_hash_and_size(hub: FakeHub, home: Home) -> None:
    answer = home.command("fetch", NAME)
    assert answer.code == 0, answer.err
    entry = locked(home)[NAME]
    assert entry["revision"] == hub.models[ID].commit
    assert entry["files"] == {
        name: {"sha256": hashlib.sha256(FILES[name]).hexdigest(), "bytes": len(FILES[name])}
        for name in ("config.json", "model.safetensors")
    }  # neither code, nor what is pickled where there are safetensors
    assert not hub.gets("modeling_gpt2.py") and not hub.gets("pytorch_model.bin")
    assert "here" in home.command("list", "--task", "text-generation", "--here").out


def test_a_second_fetch_downloads_nothing(hub: FakeHub, home: Home) -> None:
    home.command("fetch", NAME)
    hub.served.clear()
    assert home.command("fetch", NAME).code == 0
    assert not hub.gets("model.safetensors")


def test_a_later_revision_is_not_taken_unasked(hub: FakeHub, home: Home) -> None:
    home.command("fetch", NAME)
    first = hub.models[ID].commit
    hub.models[ID].push({**FILES, "model.safetensors": WEIGHTS[::-1]})
    assert home.command("fetch", NAME).code == 0
    assert locked(home)[NAME]["revision"] == first
    assert home.command("fetch", NAME, "--update").code == 0
    assert locked(home)[NAME]["revision"] == hub.models[ID].commit != first


def test_other_bytes_for_the_same_revision_are_refused(hub: FakeHub, home: Home) -> None:
    home.command("fetch", NAME)
    before = (home.data / "zoo.lock").read_bytes()
    hub.models[ID].older[hub.models[ID].commit] = {**FILES, "model.safetensors": WEIGHTS[::-1]}
    hub.models[ID].files = {"config.json": b"{}"}
    sentence = home.command("fetch", NAME).sentence
    assert "is not what zoo.lock recorded" in sentence and "--update" in sentence
    assert (home.data / "zoo.lock").read_bytes() == before


def test_a_cut_connection_goes_on_where_it_stopped(hub: FakeHub, home: Home) -> None:
    large = WEIGHTS * 80  # 26 MB: the library writes 10 MiB at a time
    hub.models[ID].files["model.safetensors"] = large
    hub.cut_after["model.safetensors"] = [11_000_000, 11_000_000]
    answer = home.command("fetch", NAME)
    assert answer.code == 0, answer.err
    assert [request[2] for request in hub.gets("model.safetensors")] == ["", f"bytes={10 << 20}-", f"bytes={20 << 20}-"]
    assert locked(home)[NAME]["files"]["model.safetensors"]["sha256"] == hashlib.sha256(large).hexdigest()  # type: ignore[index]


@pytest.mark.timeout(120)
def test_a_connection_that_stays_cut_leaves_nothing_broken(hub: FakeHub, home: Home) -> None:
    hub.cut_after["model.safetensors"] = [1000] + [0] * 20
    assert "was cut: run it again" in home.command("fetch", NAME).sentence
    assert not (home.data / "zoo.lock").exists()
    assert not [path for path in home.cache.rglob("*") if path.is_file() and path.suffix == ".incomplete"]
    hub.cut_after.clear()
    assert home.command("fetch", NAME).code == 0


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_bytes_that_are_not_what_the_hub_states_are_removed(file: str, hub: FakeHub, home: Home) -> None:
    hub.wrong.add(file)
    assert f"{file} of {ID} arrived with another hash" in home.command("fetch", NAME).sentence
    assert not (home.data / "zoo.lock").exists()
    hub.wrong.clear()
    assert home.command("fetch", NAME).code == 0


def test_a_model_that_is_not_there_or_not_open(hub: FakeHub, home: Home) -> None:
    model = hub.models.pop(ID)
    assert "is not there, or is private" in home.command("fetch", NAME).sentence
    hub.models[ID] = model
    model.gated = True
    assert f"accept them at {hub.address}/{ID}" in home.command("fetch", NAME).sentence
    model.gated = False
    hub.status[ID] = 401
    assert "hf auth login" in home.command("fetch", NAME).sentence
    hub.status = {"model.safetensors": 404}
    assert "lacks a file" in home.command("fetch", NAME).sentence
    hub.status = {ID: 503}
    assert "answered 503" in home.command("fetch", NAME).sentence


ODD = {"id": ID, "sha": "a" * 40, "siblings": [{"rfilename": "model.safetensors", "size": 9, "blobId": "0" * 40}]}


@pytest.mark.parametrize(
    "description",
    [
        b"<html>please log in</html>",
        b"[]",
        b"null",
        b"\xff",
        json.dumps({**ODD, "siblings": [1]}).encode(),
        json.dumps({**ODD, "sha": "../../../../evil"}).encode(),
        json.dumps({**ODD, "sha": None}).encode(),
        json.dumps({**ODD, "siblings": [{"rfilename": "model.safetensors", "size": "big", "blobId": ""}]}).encode(),
        json.dumps({**ODD, "siblings": [{"rfilename": "model.safetensors", "size": -1, "blobId": ""}]}).encode(),
    ],
)
def test_what_does_not_describe_a_model_is_one_sentence(description: bytes, hub: FakeHub, home: Home) -> None:
    """Such as the page of a proxy; and the commit that it names becomes a folder, which must not lie elsewhere."""
    hub.description = description
    assert f"answered something that does not describe {ID}" in home.command("fetch", NAME).sentence
    assert not list(home.cache.parent.rglob("evil"))
    assert not (home.data / "zoo.lock").exists()


def test_a_folder_that_is_taken_is_named_before_the_download(hub: FakeHub, home: Home, tmp_path: Path) -> None:
    assert (
        "is already there: choose another folder" in home.command("fetch", NAME, "--artifact", str(tmp_path)).sentence
    )
    assert not hub.served


def test_a_licence_that_is_no_name_is_another(hub: FakeHub, home: Home) -> None:
    hub.description = json.dumps({**ODD, "cardData": {"license": "a\nb"}}).encode()
    assert "has the licence other, which has terms of its own" in home.command("fetch", NAME).sentence


def test_a_revision_that_is_gone(hub: FakeHub, home: Home) -> None:
    home.command("fetch", NAME)
    hub.models[ID].files = {**FILES, "config.json": b"{}"}
    sentence = home.command("fetch", NAME).sentence
    assert "has no revision" in sentence and "--update" in sentence


def test_without_a_connection_one_sentence_has_the_command_and_the_nearest_model(tmp_path: Path) -> None:
    sentence = Home(tmp_path).command("fetch", NAME).sentence
    assert f"deepseek-models fetch {NAME}" in sentence and "deepseek/smollm2-135m-instruct is here" in sentence
    sentence = Home(tmp_path).command("fetch", NAME).sentence
    assert "cannot be reached" in sentence
    code = f"from models import TextGenerationModel; TextGenerationModel.from_pretrained({NAME!r})"
    answer = Home(tmp_path).python(code)
    assert f"is not on this host: fetch it with a connection: deepseek-models fetch {NAME}" in answer.err


def test_a_licence_with_terms_is_accepted_first(hub: FakeHub, home: Home) -> None:
    row = next(row for row in table.whole_rows() if row.licence == "dinov3-license")
    name = row.name
    hub.models[row.id] = FakeModel(dict(FILES), licence="dinov3-license")
    sentence = home.command("fetch", name).sentence
    assert "accept it with" in sentence and "--accept-licence" in sentence
    assert not hub.served
    licence = sentence.rpartition(" ")[2]
    assert home.command("fetch", name, "--accept-licence", licence).code == 0
    assert home.command("fetch", name).code == 0  # it is asked for once


def test_a_licence_of_the_hub_that_the_table_does_not_know_is_refused(hub: FakeHub, home: Home) -> None:
    hub.models[ID].licence = "cc-by-nc-4.0"
    assert "the licence cc-by-nc-4.0, which forbids commercial use" in home.command("fetch", NAME).sentence
    assert not hub.gets("model.safetensors")


def test_a_full_disk_is_named_before_and_while_it_fills(hub: FakeHub, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("a small disk needs the right to mount one")
    try:
        home = Home(tmp_path, hub.address)
        answer = home.command("fetch", NAME, HF_HOME=str(place))
        assert "MB free: make room" in answer.sentence
        ballast = place / "ballast"
        hub.models[ID].files = {"config.json": b"{}", "model.safetensors": WEIGHTS[:100_000]}
        ballast.write_bytes(bytes(60_000))
        code = f"""
import os, threading, time
from models.zoo import fetch
fetch._require_space = lambda *_: open({str(place / "more")!r}, "wb").write(bytes(120_000))
from models.commands import main
raise SystemExit(main(["fetch", {NAME!r}]))
"""  # another program takes the room after it was looked at
        assert "became full while" in home.python(code, HF_HOME=str(place)).sentence
        assert not (home.data / "zoo.lock").exists()
        assert not [path for path in place.rglob("*.incomplete") if path.is_file()]
        (place / "more").unlink()
        ballast.unlink()
        assert home.command("fetch", NAME, HF_HOME=str(place)).code == 0
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_for_the_lock_is_one_sentence(hub: FakeHub, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("a small disk needs the right to mount one")
    try:
        (place / "ballast").write_bytes(bytes(16_384))
        home = Home(tmp_path, hub.address)
        assert "is full" in home.command("fetch", NAME, DEEPSEEK_MODELS_DIR=str(place)).sentence
        assert not [path for path in place.iterdir() if path.name.startswith(".zoo.lock.") and path.suffix != ".guard"]
    finally:
        subprocess.run(["umount", place], check=True)
