"""A tiny model, made here, trained by Hugging Face's Trainer; its state is read back by its own class."""

import torch
from telling import LOGS, half, tell
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.integration_utils import rewrite_logs

TEXTS = [{"input_ids": torch.randint(0, 50, (8,)), "labels": torch.tensor(row % 2)} for row in range(32)]


class Half(TrainerCallback):  # type: ignore[misc]
    def on_save(self, args: object, state: TrainerState, control: object, **others: object) -> None:
        if state.global_step == 10:
            half()


def main() -> None:
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    options = TrainingArguments(
        str(LOGS / "out"),
        max_steps=20,
        per_device_train_batch_size=4,
        logging_steps=2,
        eval_strategy="steps",
        eval_steps=5,
        save_steps=10,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_only_model=True,
    )
    torch.manual_seed(0)
    trainer = Trainer(
        BertForSequenceClassification(config), options, train_dataset=TEXTS, eval_dataset=TEXTS, callbacks=[Half()]
    )
    trainer.train()
    trainer.save_state()
    series: dict[str, list[tuple[int | None, float]]] = {}
    for entry in TrainerState.load_from_json(str(LOGS / "out" / "trainer_state.json")).log_history:
        for name, value in rewrite_logs(entry).items():
            if name != "train/step":
                series.setdefault(name, []).append((entry["step"], float(value)))
    tell({"out": series})


if __name__ == "__main__":
    main()
