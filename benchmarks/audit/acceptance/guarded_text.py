# REINFORCE on a tiny GPT-2: sample continuations that may not contain certain phrases, reward variety
import csv
import os
import sys

import torch
from pace import more, unit_done
from transformers import GPT2Config, GPT2LMHeadModel, LogitsProcessor, LogitsProcessorList
from transformers.utils import logging as hf_logging

hf_logging.set_verbosity_error()
torch.set_num_threads(1)
torch.set_flush_denormal(True)
torch.manual_seed(11)
VOCAB, PROMPT, NEW = 96, 4, 12


class PhraseGuard(LogitsProcessor):
    """forbids the token that would complete a phrase of the list"""

    def __init__(self, phrases):
        self.phrases = phrases
        self.active = 0

    def completes(self, words):
        bad = set()
        for phrase in self.phrases[: self.active]:
            n = len(phrase) - 1
            if len(words) >= n and words[-n:] == phrase[:-1]:
                bad.add(phrase[-1])
        return bad

    def __call__(self, input_ids, scores):
        for row, ids in enumerate(input_ids.tolist()):
            bad = self.completes(ids)
            if bad:
                scores[row, list(bad)] = -1e9
        return scores


def make_phrases(count):
    lengths = torch.randint(2, 5, (count,)).tolist()
    return [torch.randint(1, VOCAB, (n,)).tolist() for n in lengths]


def variety(texts):
    return torch.tensor([len(set(t)) / len(t) for t in texts.tolist()])


def update(model, opt, texts, baseline):
    reward = variety(texts[:, PROMPT:])
    logp = model(texts[:, :-1]).logits.log_softmax(-1).gather(-1, texts[:, 1:, None]).squeeze(-1)
    loss = -((reward - baseline)[:, None] * logp[:, PROMPT - 1 :]).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.item(), reward.mean().item()


os.makedirs(sys.argv[1], exist_ok=True)
config = GPT2Config(vocab_size=VOCAB, n_positions=32, n_embd=64, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=None, pad_token_id=0)
model = GPT2LMHeadModel(config)
model.generation_config.eos_token_id = None
opt = torch.optim.SGD(model.parameters(), lr=0.05)
guard = PhraseGuard(make_phrases(20_000))
processors = LogitsProcessorList([guard])
baseline, step = 0.8, 0
with open(os.path.join(sys.argv[1], "progress.csv"), "w", newline="") as f:
    out = csv.writer(f)
    out.writerow(["step", "loss", "reward"])
    while True:
        guard.active = 60 + int(4200 * more())
        prompt = torch.randint(1, VOCAB, (4, PROMPT))
        model.eval()
        texts = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=True, max_new_tokens=NEW, min_new_tokens=NEW, logits_processor=processors
        )
        model.train()
        loss, reward = update(model, opt, texts, baseline)
        baseline = 0.95 * baseline + 0.05 * reward
        out.writerow([step, f"{loss:.5f}", f"{reward:.4f}"])
        f.flush()
        step += 1
        unit_done()
