"""Building the native sampler, and whether its tables of offsets are those of the Pythons of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collectors.sampler import build as building
from collectors.sampler.build import FLAGS, SOURCES, BuildError, build, build_or_say, compiler, find_program, is_current
from tests.interpreters import Interpreter, every_python

ROOT = Path(__file__).parents[2]


def has_compiler() -> bool:
    try:
        compiler()
    except BuildError:
        return False
    return True


NEEDS_COMPILER = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler")


@NEEDS_COMPILER
@every_python()
def test_the_offsets_of_each_python_are_those_of_its_headers(python: Interpreter, tmp_path: Path) -> None:
    if not (python.include / "internal" / "pycore_frame.h").exists():
        pytest.skip("its headers are not installed")
    program = tmp_path / "layout_check"
    includes = [
        f"-I{folder}" for folder in (SOURCES, python.include, python.include / "internal", python.include.parent)
    ]
    sources = [
        str(ROOT / "tests" / "sampler" / "layout_check.c"),
        *(str(SOURCES / name) for name in ("layout.c", "base.c")),
    ]
    subprocess.run([*compiler(), "-w", *includes, "-o", str(program), *sources], check=True)
    said = subprocess.run([program], capture_output=True, text=True)
    assert said.stdout == f"{python.name} agrees\n"
    assert said.returncode == 0


@NEEDS_COMPILER
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    program = tmp_path / "sampler"
    build(program, (*FLAGS, "-Wshadow", "-Wconversion", "-Werror"))
    assert os.access(program, os.X_OK)
    assert [*tmp_path.iterdir()] == [program], "no file is left over"


@NEEDS_COMPILER
def test_it_tells_its_version_first_and_ends_with_its_input(tmp_path: Path) -> None:
    program = find_program() or tmp_path / "sampler"
    if not program.exists():
        build(program)
    assert (
        subprocess.run([program], input=b"", stdout=subprocess.PIPE, timeout=60, check=True).stdout == b'["native",2]\n'
    )


@NEEDS_COMPILER
def test_commands_that_are_none_are_passed_over(tmp_path: Path) -> None:
    program = find_program()
    if not program:
        pytest.skip("the native sampler is not built")
    commands = b"+ 1\n- 7\n\n+ a b c d\nw -5\n\x00\xff\n+ 1 2 3 nan\n+ 1 999999999 1 100\n"
    assert subprocess.run([program], input=commands, stdout=subprocess.PIPE, timeout=60).stdout.startswith(
        b'["native",2]\n'
    )


def test_without_a_compiler_one_sentence_says_who_samples_instead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(building, "PROGRAM", tmp_path / "_sampler")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert not build_or_say()
    assert capsys.readouterr().err == (
        "The native sampler is not built, py-spy samples instead: there is no C compiler; "
        "install one (sudo apt-get install gcc libc6-dev) and run make setup again.\n"
    )


@NEEDS_COMPILER
def test_a_compiler_that_fails_is_quoted_and_the_old_program_stays(tmp_path: Path) -> None:
    program = tmp_path / "sampler"
    program.write_text("old")
    with pytest.raises(BuildError, match="the C compiler fails: "):
        build(program, ("-Dmain=1",))
    assert program.read_text() == "old"
    assert [*tmp_path.iterdir()] == [program]


def test_a_program_that_is_older_than_its_sources_is_not_current(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "_sampler"
    monkeypatch.setattr(building, "PROGRAM", program)
    assert not is_current()
    program.touch(mode=0o755)
    assert is_current()
    os.utime(program, (0, 0))
    assert not is_current()


@pytest.mark.long
@pytest.mark.parametrize("with_compiler", [True, False])
def test_the_wheel_carries_the_sampler_where_there_is_a_compiler(with_compiler: bool, tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    tree = tmp_path / "tree"
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    environment = dict(os.environ) if with_compiler else {**os.environ, "CC": "there-is-no-such-compiler"}
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(tree)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True, check=True
    ).stdout
    assert ("deepseek/collectors/sampler/_sampler" in names) == with_compiler
    assert wheel.name.endswith("py3-none-any.whl") != with_compiler
