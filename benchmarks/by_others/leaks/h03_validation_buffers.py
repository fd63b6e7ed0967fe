# healthy: all logits of a validation are collected every 200 steps and dropped after the score
import torch
from torch import nn

from common import open_log, running

torch.set_num_threads(1)


class Run:
    def __init__(self):
        self.model = nn.Sequential(nn.Linear(50, 200), nn.ReLU(), nn.Linear(200, 400))
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.outputs = []

    def validate(self):
        self.model.eval()
        with torch.no_grad():
            for _ in range(60):
                self.outputs.append(self.model(torch.randn(512, 50)))
        everything = torch.cat(self.outputs)
        score = float(everything.softmax(1).max(1).values.mean())
        self.outputs.clear()
        self.model.train()
        return score

    def train(self):
        with open_log() as log:
            step = 0
            while running():
                x = torch.randn(256, 50)
                loss = nn.functional.cross_entropy(self.model(x), x.argmax(1))
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                values = {"loss": loss.item()}
                if step % 200 == 199:
                    values["val/confidence"] = self.validate()
                log.scalars(step, values)
                step += 1


if __name__ == "__main__":
    Run().train()
