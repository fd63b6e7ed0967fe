"""Hugging Face's Trainer with our callback, beside its own history."""

import torch
from adapting import LOGS, each_fault, report, weights
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import rewrite_logs

TEXTS = [{"input_ids": torch.arange(row, row + 8) % 50, "labels": torch.tensor(row % 2)} for row in range(32)]


def main(fault: str) -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    options = TrainingArguments(
        str(LOGS / "run") if not fault else "out",
        num_train_epochs=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        logging_steps=2,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="no" if fault else "steps",
        save_steps=4,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_only_model=True,
    )
    callbacks: list[TrainerCallback] = []
    if fault != "none":
        from deepseek.log.adapters.transformers import RunLogCallback

        callbacks.append(RunLogCallback(LOGS, "run"))
    model = BertForSequenceClassification(config)
    trainer = Trainer(model, options, train_dataset=TEXTS, eval_dataset=TEXTS, callbacks=callbacks)
    trainer.train()
    trainer.evaluate()
    series: dict[str, list[tuple[int, float]]] = {}
    for entry in trainer.state.log_history:
        for name, value in rewrite_logs(entry).items():
            if name != "train/step":
                series.setdefault(name, []).append((entry["step"], float(value)))
    steps = [(step, 0.0) for step in range(1, trainer.state.global_step + 1)]
    series |= {f"phase/{name}_s": steps for name in ("data", "forward_backward", "optimizer")}
    events = [
        ["epoch", 4],
        ["epoch", 8],
        *(["validation", step] for step in (4, 8, 8)),
        ["checkpoint", 4],
        ["checkpoint", 8],
    ]
    if not fault:
        trainer.save_state()
    report(
        weights(model),
        series,
        {"hidden_size": 16, "gradient_accumulation_steps": 2, "logging_steps": 2},
        [*events, ["train_end", 8]],
    )


if __name__ == "__main__":
    each_fault(main)
