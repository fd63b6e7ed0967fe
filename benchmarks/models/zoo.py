"""The zoo beside its peers: listing the table, and SmolLM2 from the converted cache.

python -m benchmarks.models.zoo [--json FILE]    three minutes, in the environment of `python -m tests.models.environment`

Listing: the whole process, in rounds with an empty Python, with `timm.list_pretrained()` and with `import torch`. Text: each round is a
process that opens the model, and one in which transformers opens the GGUF as its documentation says; both then continue the same prompt.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.report import Row, run
from tests.integrations.environment import ROOT, plain_environment
from tests.models import environment

LIST_MS, OPEN_S, FIRST_TOKEN_S, TOKENS_A_S = 50.0, 2.0, 0.5, 10.0
LIST_ROUNDS, PEER_ROUNDS, TEXT_ROUNDS, TOKENS = 20, 3, 3, 50
LISTINGS = {
    "list": ["models/__main__.py", "list"],  # as the installed script starts it
    "an empty Python": ["-c", "pass"],
    "timm": ["-c", "import timm; print(*timm.list_pretrained(), sep='\\n')"],
    "import torch": ["-c", "import torch"],
}
PEERS = ("timm", "import torch")  # seconds each
PROMPT = "The capital of France is"
OURS = f"""
import json, time
import torch, transformers
from transformers.models.llama import modeling_llama
begun, cpu = time.perf_counter(), time.process_time()
from models import TextGenerationModel
model = TextGenerationModel.from_pretrained("deepseek/smollm2-135m-instruct")
opened, cpu = time.perf_counter(), time.process_time() - cpu
pieces = model.stream({PROMPT!r}, max_length={TOKENS})
next(pieces)
first = time.perf_counter()
count = sum(1 for _ in pieces)
print(json.dumps([opened - begun, first - opened, count / (time.perf_counter() - first), cpu]))
"""
THEIRS = f"""
import json, time
import torch, transformers
from transformers.models.llama import modeling_llama
from models.zoo import table
from models.zoo.folder import models_folder
from models.zoo.local_files import files_of
(path,) = files_of(table.find("deepseek/smollm2-135m-instruct"), models_folder()).values()
begun, cpu = time.perf_counter(), time.process_time()
tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
opened, cpu = time.perf_counter(), time.process_time() - cpu
inputs = tokenizer({PROMPT!r}, return_tensors="pt")
model.generate(**inputs, max_new_tokens=1, do_sample=False)
first = time.perf_counter()
found = model.generate(**inputs, max_length={TOKENS}, do_sample=False)
count = found.shape[1] - inputs["input_ids"].shape[1]
print(json.dumps([opened - begun, first - opened, count / (time.perf_counter() - first), cpu]))
"""


def measure() -> list[Row]:
    if why := environment.make("short"):
        raise SystemExit(why)
    with tempfile.TemporaryDirectory() as folder:
        return [*listing(Path(folder)), *text(Path(folder))]


def listing(folder: Path) -> list[Row]:
    """Median and spread of whole processes in ms, interleaved."""
    taken_ms: dict[str, list[float]] = {name: [] for name in LISTINGS}
    for words in LISTINGS.values():
        python(words, folder)  # compiled, and in the page cache
    cpu_ms = 0.0
    for round_number in range(LIST_ROUNDS):
        for name, words in LISTINGS.items():
            if name in PEERS and round_number >= PEER_ROUNDS:
                continue
            cpu_s, begun_s = children_cpu_s(), time.perf_counter()
            python(words, folder)
            taken_ms[name].append((time.perf_counter() - begun_s) * 1e3)
            cpu_ms += (children_cpu_s() - cpu_s) * 1e3 / LIST_ROUNDS if name == "list" else 0.0
    middle = {name: statistics.median(values) for name, values in taken_ms.items()}
    return [
        Row(
            f"deepseek-models list, the whole process, beside {name}",
            middle["list"],
            "ms",
            LIST_MS if name == "an empty Python" else None,
            baseline=middle[name],
            spread=f"least {min(taken_ms['list']):.0f}, most {max(taken_ms['list']):.0f}, CPU {cpu_ms:.0f} ms; load {os.getloadavg()[0]:.1f}",
        )
        for name in list(LISTINGS)[1:]
    ]


def text(folder: Path) -> list[Row]:
    python(["-c", OURS], folder)  # converts
    found: dict[str, list[list[float]]] = {OURS: [], THEIRS: []}
    for _ in range(TEXT_ROUNDS):
        for code, rounds in found.items():
            rounds.append(json.loads(python(["-c", code], folder)))
    ours, theirs = (list(zip(*rounds, strict=True)) for rounds in found.values())
    middle = statistics.median
    beside = f"beside transformers with the GGUF; load {os.getloadavg()[0]:.1f}"
    opening = f"CPU {middle(ours[3]):.2f} s; {beside}"
    return [
        Row(
            "SmolLM2-135M, from_pretrained from the converted cache",
            middle(ours[0]),
            "s",
            OPEN_S,
            baseline=middle(theirs[0]),
            spread=opening,
        ),
        Row(
            "SmolLM2-135M, first token after that",
            middle(ours[1]),
            "s",
            FIRST_TOKEN_S,
            baseline=middle(theirs[1]),
            spread=beside,
        ),
        Row(
            "SmolLM2-135M, tokens a second",
            middle(ours[2]),
            "1/s",
            TOKENS_A_S,
            True,
            baseline=middle(theirs[2]),
            spread=beside,
        ),
    ]


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def python(words: list[str], folder: Path) -> str:
    settings = {
        **plain_environment(),
        "DEEPSEEK_MODELS_DIR": str(folder),
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run([environment.PYTHON, *words], cwd=ROOT, env=settings, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    whole: str = done.stdout
    return whole.strip().rpartition("\n")[2] if "-c" in words else whole


if __name__ == "__main__":
    raise SystemExit(run(measure, __doc__ or ""))
