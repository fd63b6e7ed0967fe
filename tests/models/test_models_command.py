"""`deepseek-models` where the extra is not installed, and what its files say that need no runtime."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from access.program import Parser, UsageError
from models import errors
from models.artifact.artifact import FORMAT_VERSION, ModelManifest, manifest_from
from models.runtimes.pick import quantile, ratio, time_in_rounds
from models.runtimes.session import TensorSpec
from tests.support.running import ROOT

BLOCKED = """
import sys
for name in ("onnx", "onnxruntime", "onnxscript", "openvino", "optuna"):
    sys.modules[name] = None
sys.argv = ["deepseek-models", *sys.argv[1:]]
from models.commands import main
sys.exit(main())
"""
FILES = {name: {"sha256": "0" * 64, "bytes": 1} for name in ("model.onnx", "golden.npz")}


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKED, *words], cwd=ROOT, capture_output=True, text=True)


def test_importing_the_package_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, models, models.commands; print(sorted({'torch', 'numpy', 'onnxruntime'} & set(sys.modules)), models.Artifact.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] Artifact"


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (["fly"], "there is no command 'fly'; deepseek-models --help lists them", 2),
        (["pick"], "the following arguments are required: FOLDER; deepseek-models pick --help lists the options", 2),
        (["pick", "nowhere"], "nowhere is not a model: manifest.json cannot be read", 1),
        (["pick", "x", "--threads", "0"], "'0' is not a whole number above 0", 2),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], sentence: str, code: int) -> None:
    done = ran(*words)
    assert done.returncode == code and done.stderr.count("\n") == 1
    assert sentence in done.stderr and done.stderr.startswith("deepseek-models: ")


def test_a_package_that_is_not_installed_is_one_sentence() -> None:
    code = BLOCKED.replace(
        "sys.exit(main())",
        "from models.errors import needed\ntry:\n    needed(sys.argv[1])\nexcept Exception as error:\n    print(error)",
    )
    said = [
        subprocess.run([sys.executable, "-c", code, name], cwd=ROOT, capture_output=True, text=True).stdout.strip()
        for name in ("onnxruntime.quantization", "openvino")
    ]
    assert said == [
        "onnxruntime is not installed; install it with: pip install 'deepseek-dashboard[models]'",
        "openvino is not installed; install it with: pip install openvino",
    ]


def test_a_manifest_comes_back_from_its_json() -> None:
    made = ModelManifest(
        "a", "test", "MIT", "here", (TensorSpec("x", "float32", ("batch", 3)),), preprocessing={"scale": 0.5}
    )
    table = json.loads(made.as_json()) | {"files": FILES}
    assert table["format_version"] == FORMAT_VERSION
    back = manifest_from(json.dumps(table), "x")
    assert back.inputs == made.inputs and back.preprocessing == made.preprocessing and set(back.files) == set(FILES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "{}",
        '{"format_version": true}',
        '{"format_version": 1}',
        "null",
        '{"format_version": 1, "name": NaN}',
    ],
)
def test_no_manifest_raises_anything_else(text: str) -> None:
    with pytest.raises(errors.BadArtifact) as error:
        manifest_from(text, "m.json")
    assert str(error.value).startswith("m.json") and "\n" not in str(error.value)


def test_the_ratio_of_a_call_to_itself_is_one() -> None:
    times = time_in_rounds({name: lambda: sum(range(2000)) for name in "ab"}, rounds=8, round_s=0.02)
    found = ratio(times["a"], times["b"])
    assert found.lowest <= found.value <= found.highest and 0.5 < found.value < 2
    assert len(times["a"].rounds_ms) == 8 and times["a"].calls >= 40


def test_a_quantile_is_a_value_that_was_there() -> None:
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 2.0, 3.0, 3.0]


def test_a_parser_raises_instead_of_exiting() -> None:
    with pytest.raises(UsageError, match="--help lists the options"):
        Parser(prog="x").parse_args(["--nothing"])
