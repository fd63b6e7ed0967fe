import torch
from pace import more, unit_done
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

V, T = 64, 48


class RandomText(Dataset):
    def __len__(self):
        return 10_000_000

    def __getitem__(self, idx):
        g = torch.Generator().manual_seed(idx)
        ids = torch.randint(0, V, (T,), generator=g)
        return {"ids": ids, "labels": ids.roll(-1)}


class CausalConv(nn.Module):
    def __init__(self, d=96):
        super().__init__()
        self.emb = nn.Embedding(V, d)
        self.c1 = nn.Conv1d(d, d, 4, padding=3)
        self.c2 = nn.Conv1d(d, d, 4, padding=3)
        self.out = nn.Linear(d, V)

    def forward(self, ids, labels=None):
        h = self.emb(ids).transpose(1, 2)
        h = torch.relu(self.c1(h))[..., :T]
        h = torch.relu(self.c2(h))[..., :T].transpose(1, 2)
        logits = self.out(h)
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


def longest_repeat(tokens):
    """dynamic programming, O(n^2)"""
    n = len(tokens)
    best = 0
    prev = [0] * (n + 1)
    for i in range(1, n + 1):
        cur = [0] * (n + 1)
        for j in range(1, i):
            if tokens[i - 1] == tokens[j - 1]:
                cur[j] = prev[j - 1] + 1
                best = max(best, cur[j])
        prev = cur
    return best


class RepetitionWatch(TrainerCallback):
    def __init__(self):
        self.worst = 0

    def generate(self, model, length):
        model.eval()
        with torch.no_grad():
            ids = torch.randint(0, V, (1, T))
            logits = model(ids, ids)["logits"][0]
        model.train()
        tokens = logits.argmax(-1).tolist()
        while len(tokens) < length:
            tokens = tokens + tokens[:T]
        return tokens[:length]

    def on_step_end(self, args, state, control, model=None, **kw):
        tokens = self.generate(model, int((400 + 300_000 * more()) ** 0.5))
        self.worst = max(self.worst, longest_repeat(tokens))
        unit_done()


def main():
    args = TrainingArguments(
        output_dir="/tmp/unused_checkpoints",
        per_device_train_batch_size=8,
        max_steps=10_000_000,
        logging_steps=20,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_num_workers=0,
    )
    Trainer(model=CausalConv(), args=args, train_dataset=RandomText(), callbacks=[RepetitionWatch()]).train()


main()
