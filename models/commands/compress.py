"""`deepseek-models compress --out models/student`: teacher, student, int8, every runtime timed, the fastest that passes the gates."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from access.program import Command, amount, count, positive

from ..errors import WrongOption


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder for the model that passes; must not exist",
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="FOLDER",
        help="folder for intermediate results, from which a stopped compression resumes (default: OUT.work)",
    )
    parser.add_argument(
        "--data", default="fashion-mnist", metavar="NAME", help="fashion-mnist, or an .npz file with images and labels"
    )
    parser.add_argument("--images", type=count, metavar="N", help="maximum number of training images (default: all)")
    parser.add_argument(
        "--teacher",
        default="auto",
        metavar="NAME",
        help="a model's folder, or resnet50, resnet34, resnet18, resnet18x0.5; auto: the largest that reaches its plateau in time",
    )
    parser.add_argument(
        "--minutes",
        type=positive,
        default=60.0,
        metavar="N",
        help="maximum time for training the teacher (default: 60)",
    )
    parser.add_argument("--epochs", type=count, default=60, metavar="N", help="maximum per training (default: 60)")
    parser.add_argument(
        "--width", type=positive, default=0.5, metavar="W", help="width of the student; 1 is ResNet-18 (default: 0.5)"
    )
    parser.add_argument(
        "--temperature", type=positive, default=4.0, metavar="T", help="softening of the teacher's outputs (default: 4)"
    )
    parser.add_argument("--bits", type=bits, default=(8, 32), metavar="LIST", help="8, 32 or both (default: 8,32)")
    parser.add_argument(
        "--trials", type=count, metavar="N", help="search width, bits and temperature in this many trials"
    )
    parser.add_argument(
        "--smaller",
        type=amount,
        default=12.0,
        metavar="X",
        help="gate: how many times smaller than the teacher (default: 12)",
    )
    parser.add_argument(
        "--kept",
        type=amount,
        default=97.0,
        metavar="PERCENT",
        help="gate: share of the teacher's accuracy kept, at the lower end of the interval (default: 97)",
    )
    parser.add_argument(
        "--faster",
        type=amount,
        default=6.7,
        metavar="X",
        help="gate: how many times faster than the teacher in its fastest fp32 runtime on this host (default: 6.7)",
    )
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="threads of a timed call (default: 1)")
    parser.add_argument(
        "--logs", type=Path, default=Path("logs"), metavar="FOLDER", help="log folder for the run (default: logs)"
    )
    parser.add_argument("--run", metavar="NAME", help="name of the run (default: compress and the time)")  # fmt: skip


def run(parsed: argparse.Namespace) -> int:
    from ..compression.compress import compress, refused
    from ..compression.recipe import CompressionRecipe, Gates

    if not parsed.out.name:
        raise WrongOption(f"--out {parsed.out} is not the name of a new folder; give one such as models/student")
    work = parsed.work or parsed.out.with_name(f"{parsed.out.name}.work")
    recipe = CompressionRecipe(
        out=parsed.out,
        work=work,
        logs=parsed.logs,
        run=parsed.run,
        data=parsed.data,
        teacher=parsed.teacher,
        width=parsed.width,
        temperature=parsed.temperature,
        bits=parsed.bits,
        trials=parsed.trials or 0,
        gates=Gates(parsed.smaller, parsed.kept / 100, parsed.faster),
        threads=parsed.threads,
        images=parsed.images,
        epochs=parsed.epochs,
        teacher_s=parsed.minutes * 60,
    )
    try:
        verdict = compress(recipe, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        if work.exists():
            print(f"stopped; {work} keeps what was made, and the same command goes on there", file=sys.stderr)
        raise
    if verdict.artifact is None:
        raise refused(verdict, work)
    print(f"{parsed.out}: {verdict}")
    return 0


def bits(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not set(words) <= {"8", "32"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not 8, 32 or 8,32")
    return tuple(sorted({int(word) for word in words}))


COMMAND = Command(
    "compress", "Compress an image classifier until it passes gates for size, accuracy and latency.", arguments, run
)
