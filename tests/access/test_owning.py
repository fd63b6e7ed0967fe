"""Whose code a frame is, and what a user would call it."""

from __future__ import annotations

import pytest

from analysis.stacks.frames import file_name, has_name, kinds_of, library_name, owner_of
from collectors.records import Frame

SITE = "/job/.venv/lib/python3.12/site-packages"


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/job/train.py", "own"),
        ("/job/tools/train", "own"),
        ("/home/ada/mylab/src/mylab/augment.py", "own"),  # an editable install
        ("/tmp/ipykernel_4127/3391234.py", "own"),
        ("<ipython-input-3-0f3a>", "own"),
        ("<stdin>", "own"),
        (f"{SITE}/torch/nn/modules/module.py", "library"),
        ("/usr/lib/python3/dist-packages/numpy/core.py", "library"),
        ("/home/ada/.local/share/uv/python/cpython-3.12.1-linux/lib/python3.12/threading.py", "library"),
        ("/opt/venv/bin/torchrun", "library"),
        ("/tmp/torchinductor_ada/ab/cabc.py", "library"),
        ("/home/ada/.triton/cache/0f3a/kernel.py", "library"),
        ("/home/ada/.cache/huggingface/modules/transformers_modules/m/modeling_m.py", "library"),
        ("<frozen importlib._bootstrap>", "library"),
        ("<string>", "library"),
        ("<eval_with_key>.3", "library"),
        ("", "library"),
    ],
)
@pytest.mark.parametrize("folder", ["/job", ""])
def test_own_is_what_the_user_wrote(file: str, kind: str, folder: str) -> None:
    expected = "library" if file == "/job/tools/train" and not folder else kind
    assert kinds_of([Frame("f", file, 1), Frame("main", "/job/train.py", 2)], folder) == [expected, "own"]


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("main.<locals>.<listcomp>", "main"),
        ("Loader.pad.<locals>.<genexpr>", "Loader.pad"),
        ("main.<locals>.<lambda>.<locals>.<dictcomp>", "main.<locals>.<lambda>"),
        ("<lambda>", ""),
        ("main.<locals>.<lambda>", ""),
        ("<listcomp>", "<module>"),
        ("main", ""),
        ("main.<locals>.pad", ""),
        ("<module>", ""),
    ],
)
def test_a_comprehension_is_part_of_a_function_and_a_lambda_is_one(name: str, owner: str) -> None:
    assert owner_of(name) == owner


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/job/data.py", "data.py"),
        ("/tmp/ipykernel_4127/3391234.py", "cell"),
        ("<ipython-input-3-0f3a>", "cell 3"),
        ("<string>", "<string>"),
    ],
)
def test_a_cell_of_a_notebook_is_called_one(file: str, name: str) -> None:
    assert file_name(file) == name


def test_a_librarys_function_is_named_with_its_package() -> None:
    assert library_name(Frame("ImageFile.load", f"{SITE}/PIL/ImageFile.py", 300)) == "PIL ImageFile.load"
    assert library_name(Frame("call", "/tmp/torchinductor_ada/ab/cabc.py", 3)) == "compiled code"


@pytest.mark.parametrize(
    ("name", "file", "named"),
    [
        ("Trainer.train", f"{SITE}/transformers/trainer.py", True),
        ("Module._call_impl", f"{SITE}/torch/nn/modules/module.py", False),
        ("collate.<locals>.<listcomp>", f"{SITE}/torch/utils/data/collate.py", False),
        ("<module>", f"{SITE}/axolotl/cli.py", False),
        ("__init__", "<string>", False),
        ("in the workers", "", False),
    ],
)
def test_some_names_say_nothing(name: str, file: str, named: bool) -> None:
    assert has_name(Frame(name, file, 1)) == named
