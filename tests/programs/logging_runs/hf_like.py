"""A Transformers Trainer on a tiny model: its own lines, logged every few steps, evaluations and checkpoints. Argument: seconds."""

from __future__ import annotations

import logging
import sys
import tempfile
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout)
logger = logging.getLogger("finetune")
END_S = time.monotonic() + float(sys.argv[1])


class Words(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4000

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        ids = (torch.arange(24) * (i % 7 + 1)) % 64
        return {"input_ids": ids, "labels": ids}


class Lines(TrainerCallback):
    def on_step_end(self, args, state, control, **others):
        if state.global_step % 10 == 0:
            logger.info("step %d of epoch %.2f", state.global_step, state.epoch)
        control.should_training_stop = time.monotonic() > END_S
        return control

    def on_save(self, args, state, control, **others):
        logger.info("saved checkpoint-%d to %s", state.global_step, args.output_dir)

    def on_evaluate(self, args, state, control, metrics=None, **others):
        logger.info(
            "evaluation at step %d: loss %.4f in %.2f s",
            state.global_step,
            metrics["eval_loss"],
            metrics["eval_runtime"],
        )


torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as out:
    arguments = TrainingArguments(
        out,
        per_device_train_batch_size=4,
        logging_steps=20,
        eval_strategy="steps",
        eval_steps=150,
        save_steps=300,
        save_total_limit=1,
        num_train_epochs=1000,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        learning_rate=1e-3,
    )
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=1, n_head=2))
    evaluated = torch.utils.data.Subset(Words(), range(400))
    Trainer(model, arguments, train_dataset=Words(), eval_dataset=evaluated, callbacks=[Lines()]).train()
