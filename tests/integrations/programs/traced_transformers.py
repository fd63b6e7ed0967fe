"""Hugging Face's Trainer with our callback, of which steps are traced: program LOG_DIR"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from deepseek.log.adapters.transformers import RunLogCallback

LOGS = Path(sys.argv[1])
TEXTS = [{"input_ids": torch.arange(row, row + 8) % 50, "labels": torch.tensor(row % 2)} for row in range(1600)]


def main() -> None:
    folder = LOGS / ".deepseek" / "traces" / "run"
    folder.mkdir(mode=0o700, parents=True)
    asked = os.open(folder / "trace.request", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(asked, json.dumps({"id": "0123abcd", "steps": 2, "rank": 0, "time_s": time.time()}).encode())
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    options = TrainingArguments(
        str(LOGS / "out"),
        num_train_epochs=1,
        per_device_train_batch_size=4,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(
        BertForSequenceClassification(config), options, train_dataset=TEXTS, callbacks=[RunLogCallback(LOGS, "run")]
    ).train()


if __name__ == "__main__":
    main()
