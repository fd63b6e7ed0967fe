"""Active learning: the least certain samples are sent to annotators, whose service is unavailable now and then."""
import functools
import random
import time

import torch
from pace import more, unit_done

torch.set_num_threads(1)
torch.set_flush_denormal(True)


class Unavailable(Exception):
    pass


class Backoff:
    def __init__(self, first_s=0.003, most_s=0.006):
        self.first_s, self.most_s = first_s, most_s

    def pause(self, attempt):
        delay = min(self.first_s * 2**attempt, self.most_s)
        time.sleep(delay * random.uniform(0.5, 1.0))


def retrying(backoff, times=12):
    def decorate(f):
        @functools.wraps(f)
        def call(*args):
            for attempt in range(times):
                try:
                    return f(*args)
                except Unavailable:
                    backoff.pause(attempt)
            return None

        return call

    return decorate


class Annotators:
    def __init__(self, truth):
        self.truth, self.busy = truth, 0.04

    @retrying(Backoff())
    def label(self, x):
        if random.random() < self.busy:
            raise Unavailable("503")
        return int((self.truth @ x).argmax())


class Classifier(torch.nn.Module):
    def __init__(self, features=24, classes=5):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(features, 256), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, classes)
        )

    def forward(self, x):
        return self.layers(x)

    @torch.no_grad()
    def uncertainty(self, pool, draws=6):
        p = torch.stack([self(pool).softmax(1) for _ in range(draws)]).mean(0)
        return -(p * p.clamp_min(1e-9).log()).sum(1)


class ActiveLearner:
    def __init__(self):
        self.annotators = Annotators(torch.randn(5, 24))
        self.model = Classifier()
        self.opt = torch.optim.SGD(self.model.parameters(), lr=0.05)
        self.known = []

    def query(self, n=8):
        pool = torch.randn(256, 24)
        scores = self.model.uncertainty(pool)
        for x in pool[scores.topk(n).indices]:
            y = self.annotators.label(x)
            if y is not None:
                self.known.append((x, y))
        return scores.mean().item()

    def learn(self, rounds=6, size=64):
        for _ in range(rounds):
            xs, ys = zip(*random.sample(self.known, min(size, len(self.known))))
            loss = torch.nn.functional.cross_entropy(self.model(torch.stack(xs)), torch.tensor(ys))
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        return loss.item()

    @torch.no_grad()
    def accuracy(self):
        x = torch.randn(1000, 24)
        self.model.eval()
        right = (self.model(x).argmax(1) == (x @ self.annotators.truth.T).argmax(1)).float().mean().item()
        self.model.train()
        return right


def main():
    torch.manual_seed(3)
    learner, turn = ActiveLearner(), 0
    while True:
        learner.annotators.busy = 1 - 1 / (1.04 + 0.5 * more())
        entropy = learner.query()
        loss = learner.learn()
        unit_done()
        turn += 1
        if turn % 20 == 0:
            print(f"accuracy {learner.accuracy():.3f}, entropy {entropy:.3f}, loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
