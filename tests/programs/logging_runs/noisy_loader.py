"""A loop whose data loader warns of slow and short samples, retries reads and reports its queue now and then. Arguments: seconds, seed."""

from __future__ import annotations

import logging
import random
import sys
import time
import warnings

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

FORMAT = "%(asctime)s.%(msecs)03d | %(levelname)-7s | %(processName)s | %(message)s"
logging.basicConfig(level=logging.INFO, format=FORMAT, datefmt="%H:%M:%S", stream=sys.stdout)
END_S, SEED = time.monotonic() + float(sys.argv[1]), int(sys.argv[2])
warnings.simplefilter("always")


class Shards(IterableDataset):
    def __iter__(self):
        worker = get_worker_info()
        drawn = random.Random(SEED + worker.id)
        for number in range(10**9):
            time.sleep(drawn.expovariate(1 / 0.012))
            if drawn.random() < 0.05:
                logging.warning(
                    "worker %d: slow sample %08x, %.1f ms", worker.id, drawn.getrandbits(32), drawn.gauss(80, 15)
                )
            if drawn.random() < 0.01:
                logging.warning(
                    "worker %d: read of /data/shard-%05d.tar failed, attempt 1 of 3", worker.id, drawn.randrange(4000)
                )
            if drawn.random() < 0.004:
                warnings.warn(f"sample of {drawn.randrange(3, 9)} tokens is padded to 128", UserWarning, stacklevel=1)
            if number % 100 == 99:
                logging.info(
                    "worker %d: opened shard-%05d.tar (%d samples)",
                    worker.id,
                    drawn.randrange(4000),
                    900 + drawn.randrange(200),
                )
            yield torch.randn(32)


drawn = random.Random(SEED)
model = torch.nn.Linear(32, 32)
optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
torch.set_num_threads(1)
loader = DataLoader(Shards(), batch_size=8, num_workers=2, prefetch_factor=2)
begun = time.monotonic()
logging.info("torch %s, %d parameters, seed %d", torch.__version__, sum(p.numel() for p in model.parameters()), SEED)
for step, batch in enumerate(loader):
    loss = (model(batch) - batch).square().mean()
    loss.backward()
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    optimizer.step()
    optimizer.zero_grad()
    took = time.monotonic() - begun
    begun = time.monotonic()
    if step % 2 == 0:
        logging.info("step %6d | loss %.4f | norm %.3f | %.1f ms", step, float(loss), norm, 1000 * took)
    if step % 50 == 0:
        logging.info("queue: %d of 4 batches ready, %.1f MB pinned", drawn.randrange(5), drawn.uniform(10, 12))
    if drawn.random() < 0.02:
        logging.info("gc: collected %d objects in %.2f ms", drawn.randrange(10, 4000), drawn.expovariate(0.3))
    if time.monotonic() > END_S:
        break
