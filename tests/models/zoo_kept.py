"""What the zoo keeps in its folder: broken, unwritable, or written by several processes, it costs one sentence and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.errors import ModelsError
from models.zoo import folder, table
from tests.models.environment import PYTHON
from tests.models.running import Home
from tests.models.toys import toy

NAME = "deepseek/resnet18.a1_in1k"
SHA = "0" * 64
ENTRY = {
    "id": "timm/x",
    "revision": "0" * 40,
    "files": {"model.safetensors": {"sha256": SHA, "bytes": 1}},
    "licence": "mit",
}
GEMMA = ("fetch", "gemma-3-270m", "--accept-licence", "gemma")
LIST = ("list", "--max-mb", "1")


def locked(**fields: object) -> str:
    return json.dumps({"format": 1, "models": {NAME: {**ENTRY, **fields}}})


@pytest.mark.parametrize(("file", "words"), [("zoo.lock", LIST), ("measured.json", LIST), ("licences.json", GEMMA)])
@pytest.mark.parametrize("content", [b"x{", b"\xff\xfe", b"[1]", b"3", b"[" * 100_000, b'{"a": 1}', None])
def test_a_broken_file_is_named_with_its_remedy(
    file: str, words: tuple[str, ...], content: bytes | None, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    home.data.mkdir()
    if content is None:
        (home.data / file).mkdir()
    else:
        (home.data / file).write_bytes(content)
    if (file, content) == ("measured.json", b'{"a": 1}'):  # of another host
        assert home.command(*words).code == 0
        return
    sentence = home.command(*words).sentence
    assert file in sentence and "remove it" in sentence and len(sentence) < 500


@pytest.mark.parametrize(
    "fields",
    [
        {"revision": "../../../etc"},
        {"revision": 3},
        {"id": None},
        {"files": {"../../evil": {"sha256": SHA, "bytes": 1}}},
        {"files": {"/etc/passwd": {"sha256": SHA, "bytes": 1}}},
        {"files": {"a": {"sha256": "x", "bytes": 1}}},
        {"files": {"a": {"sha256": SHA, "bytes": "1"}}},
        {"licence": ["mit"]},
    ],
)
def test_a_lock_of_another_host_names_no_file_elsewhere(fields: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "zoo.lock").write_text(locked())
    assert folder.read(tmp_path)[NAME].files["model.safetensors"].bytes == 1
    (tmp_path / "zoo.lock").write_text(locked(**fields))
    with pytest.raises(ModelsError, match=r"zoo\.lock cannot be read"):
        folder.read(tmp_path)


def test_times_of_another_kind_are_refused(tmp_path: Path) -> None:
    table.keep(tmp_path, {"a": table.Latency(1.0, 2.0, 3.0, "x", 1, "random", "2026-01-01")})
    assert table.read(tmp_path)["a"].p50_ms == 1.0
    path = tmp_path / table.NAME
    path.write_text(path.read_text().replace("1.0", '"fast"'))
    with pytest.raises(ModelsError, match="remove it, and models are timed again"):
        table.read(tmp_path)


def test_what_several_processes_keep_is_all_there(tmp_path: Path) -> None:
    def kept(number: int) -> None:
        table.keep(tmp_path, {f"m{number}": table.Latency(1.0, 2.0, 3.0, "x", 1, "random", "2026-01-01")})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(kept, range(40)))
    assert len(table.read(tmp_path)) == 40


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "ro"
    place.mkdir()
    if os.getuid() == 0:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", place], check=False).returncode:
            pytest.skip("mounting needs the right to")
    else:
        place.chmod(0o500)
    yield place
    if os.getuid() == 0:
        subprocess.run(["umount", place], check=True)


def test_a_folder_that_cannot_be_written_is_named_with_the_variable_for_another(
    read_only: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    there = {"DEEPSEEK_MODELS_DIR": str(read_only)}
    assert home.command(*LIST, **there).code == 0
    suggest = ("suggest", "--task", "voice-activity", "--max-ms", "100", "--max-mb", "9")
    for words in (suggest, GEMMA):
        sentence = home.command(*words, **there).sentence
        assert str(read_only) in sentence and "name another folder with DEEPSEEK_MODELS_DIR" in sentence


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["list", "list --json", "show gpt2-medium"])
def test_an_output_that_is_full_or_closed_is_no_traceback(words: str, tmp_path: Path) -> None:
    home = Home(tmp_path)
    command = f"{PYTHON} -m models {words}"
    full = home.shell(f"{command} > /dev/full")
    assert (
        full.code == 1
        and full.err == "deepseek-models: No space left on device; look at its rights, and at the room on its disk\n"
    )
    closed = home.shell(f"set -o pipefail; {command} | true")
    assert closed.code == 0 and not closed.err


def test_a_licence_that_was_accepted_by_another_process_meanwhile_stays(tmp_path: Path) -> None:
    from models.zoo import table

    for name, licence in (("gemma-3-270m", "gemma"), ("dinov3-vit", "x")):
        row = table.find("gemma-3-270m")._replace(name=name, licence=licence)
        table.require(row, "", [licence], tmp_path)
    assert json.loads((tmp_path / "licences.json").read_text()) == ["gemma", "x"]


def test_onnx_runtime_keeps_no_id_of_this_host_and_sends_nothing(tmp_path: Path) -> None:
    """From 1.29 it does on Linux, unless a variable forbids it before it is imported; what the user has set stays."""
    home = Home(tmp_path)
    model = tmp_path / "toy.onnx"
    model.write_bytes(toy())
    code = (
        f"import os; from models.runtimes import open_session as o; from pathlib import Path; o(Path({str(model)!r})); "
    )
    code += "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
    assert home.python(code, **places).out == "1\n"
    assert not (tmp_path / "cache").exists() and not (tmp_path / "home").exists()
    assert home.python(code, ORT_DISABLE_TELEMETRY="true", **places).out == "true\n"


def test_threads_that_no_host_has_are_one_sentence(tmp_path: Path) -> None:
    words = ("suggest", "--task", "voice-activity", "--max-ms", "9", "--max-mb", "9", "--threads", "100000000")
    assert "give 1 to 1,024" in Home(tmp_path).command(*words).sentence


@pytest.mark.long
def test_a_disk_that_is_full_while_a_model_is_converted_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("a small disk needs the right to mount one")
    try:
        code = "from models import TextGenerationModel; TextGenerationModel.from_pretrained('smollm2-135m-instruct')"
        last = Home(tmp_path).python(code, DEEPSEEK_MODELS_DIR=str(place)).err.strip().splitlines()[-1]
        assert "ModelsError: the disk of" in last and "is full: make room" in last
        assert not list((place / "converted").iterdir())
    finally:
        subprocess.run(["umount", place], check=True)
