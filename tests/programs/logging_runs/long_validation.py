"""A loop with checkpoints and validations of several seconds, which come seldom. Arguments: seconds, seconds between validations, seed."""

from __future__ import annotations

import hashlib
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

import torch

logging.basicConfig(
    level=logging.INFO, format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s", stream=sys.stdout
)
log = logging.getLogger("train")
END_S, EVERY_S, SEED = time.monotonic() + float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
drawn = random.Random(SEED)
torch.manual_seed(SEED)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
weights = torch.randn(64, 10)
log.info("config: lr 0.05, momentum 0.9, hidden 128, seed %d", SEED)
log.info("model has %d parameters on cpu", sum(p.numel() for p in model.parameters()))


def losses(count: int) -> torch.Tensor:
    x = torch.randn(count, 64)
    return torch.nn.functional.cross_entropy(model(x), (x @ weights).argmax(1))


def validate(step: int) -> None:
    evaluation = logging.getLogger("validation")
    evaluation.info("validating at step %d on 12 shards", step)
    total = 0.0
    for shard in range(12):
        time.sleep(EVERY_S / 80)
        with torch.no_grad():
            total += float(losses(512))
        evaluation.info("shard %d/12: loss %.4f, %d tokens", shard + 1, total / (shard + 1), 512 * 64)
    evaluation.info("validation: loss %.4f, accuracy %.2f %%", total / 12, 100 * drawn.uniform(0.6, 0.62))


def save(folder: str, step: int) -> None:
    path = Path(folder) / "last.pt"
    torch.save(model.state_dict(), path)
    time.sleep(EVERY_S / 40)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    log.info(
        "saved checkpoint %s (%d bytes, sha256 %s) in %.2f s",
        f"step-{step:07d}.pt",
        path.stat().st_size,
        digest,
        EVERY_S / 40,
    )


with tempfile.TemporaryDirectory() as folder:
    step, validated_s, saved_s = 0, time.monotonic(), time.monotonic()
    while time.monotonic() < END_S:
        begun = time.monotonic()
        loss = losses(64)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        time.sleep(max(0.0, drawn.gauss(0.02, 0.003)))
        if step % 4 == 0:
            speed = 64 / (time.monotonic() - begun)
            log.info(
                "epoch %d step %d: loss=%.4f lr=%.2e samples/s=%.0f",
                step // 500,
                step,
                float(loss),
                0.05 * 0.999 ** (step // 50),
                speed,
            )
        if step % 500 == 499:
            log.info("epoch %d done", step // 500)
        if drawn.random() < 0.003:
            log.warning("loss scale %d: gradient overflow, step skipped", 2 ** drawn.randrange(10, 16))
        if drawn.random() < 0.006:
            logging.getLogger("storage").info(
                "uploaded %d of %d parts to bucket://runs/%08x", drawn.randrange(8), 8, drawn.getrandbits(32)
            )
        if time.monotonic() - validated_s > EVERY_S:
            validate(step)
            validated_s = time.monotonic()
        if time.monotonic() - saved_s > 0.7 * EVERY_S:
            save(folder, step)
            saved_s = time.monotonic()
        step += 1
