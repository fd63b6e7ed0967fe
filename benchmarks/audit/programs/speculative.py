"""Generates text with a small model that guesses and a large one that verifies. Says nothing while it does."""

import torch
from pace import more, unit_done
from torch import nn

VOCABULARY, DIM, CONTEXT = 128, 96, 32
AHEAD = 4
LENGTH = 24


class Gru(nn.Module):
    def __init__(self, layers, dim=DIM):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, dim)
        self.rnn = nn.GRU(dim, dim, layers, batch_first=True)
        self.head = nn.Linear(dim, VOCABULARY)

    def forward(self, ids):
        hidden, _ = self.rnn(self.embed(ids[:, -CONTEXT:]))
        return self.head(hidden)


class Decoder:
    def __init__(self, draft, target):
        self.draft, self.target = draft, target
        self.passes = 0

    def guess(self, ids):
        for _ in range(AHEAD):
            token = self.draft(ids)[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, token], dim=1)
        return ids

    def target_tokens(self, ids):
        self.passes += 1
        return self.target(ids)[:, -AHEAD - 1 :].argmax(-1)

    def accept(self, ids, agreement):
        """As many guesses as the large model would have made, judged again for each that it would not have made."""
        guessed = self.guess(ids)
        tokens = self.target_tokens(guessed)
        taken = 0
        while taken < AHEAD and torch.rand(()).item() < agreement:
            taken += 1
        for _ in range(AHEAD - taken):
            tokens = self.target_tokens(guessed)
        return torch.cat([ids, tokens[:, : max(taken, 1)]], dim=1)

    def generate(self, prompt, agreement):
        ids = prompt
        while ids.shape[1] < prompt.shape[1] + LENGTH:
            ids = self.accept(ids, agreement)
        return ids


def agreement_now():
    """Prompts of a kind that the small model does not know are guessed worse."""
    return max(0.05, 0.97 - 0.13 * more())


@torch.no_grad()
def main():
    torch.manual_seed(7)
    decoder = Decoder(Gru(1, 48).eval(), Gru(3, 160).eval())
    texts = 0
    longest = 0
    while True:
        prompt = torch.randint(0, VOCABULARY, (1, 8))
        text = decoder.generate(prompt, agreement_now())
        longest = max(longest, text.shape[1])
        texts += 1
        unit_done()


if __name__ == "__main__":
    main()
