"""As the Transformers guide to fine-tuning: a Trainer with an output folder and an evaluation an epoch, on a tiny model made here."""

import time

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments


class Reviews(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        time.sleep(0.001)
        label = index % 2
        return {"input_ids": torch.randint(label * 10, 40 + label * 10, (16,)), "labels": torch.tensor(label)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    training_args = TrainingArguments(
        output_dir="my_awesome_model",
        learning_rate=2e-4,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        num_train_epochs=3,
        eval_strategy="epoch",
        logging_steps=20,
        use_cpu=True,
    )
    trainer = Trainer(
        BertForSequenceClassification(config), training_args, train_dataset=Reviews(6_400), eval_dataset=Reviews(320)
    )
    trainer.train()
