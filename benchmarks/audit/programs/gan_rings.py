"""A GAN on rings in the plane, with a gradient penalty whose strength adapts. Two optimizers."""

import math

import torch
from pace import more, unit_done
from torch import nn

BATCH = 128
LATENT = 16
CRITIC_ROUNDS = 2


def rings(count: int) -> torch.Tensor:
    angle = 2 * math.pi * torch.rand(count)
    radius = torch.randint(1, 4, (count,)).float() + 0.05 * torch.randn(count)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def mlp(inputs: int, outputs: int, width: int = 192) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, outputs)
    )


class Gan:
    def __init__(self):
        self.generator = mlp(LATENT, 2)
        self.critic = mlp(2, 1)
        self.opt_g = torch.optim.Adam(self.generator.parameters(), lr=1e-4, betas=(0.5, 0.9))
        self.opt_c = torch.optim.Adam(self.critic.parameters(), lr=1e-4, betas=(0.5, 0.9))

    def sample(self, count: int) -> torch.Tensor:
        return self.generator(torch.randn(count, LATENT))

    def gradient_penalty(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Over several interpolations, the more of them the rougher the critic is."""
        points = 1 + round(4 * more())
        total = torch.zeros(())
        for _ in range(points):
            mix = torch.rand(len(real), 1)
            between = (mix * real + (1 - mix) * fake).requires_grad_(True)
            score = self.critic(between).sum()
            (slope,) = torch.autograd.grad(score, between, create_graph=True)
            total = total + (slope.norm(2, dim=1) - 1).square().mean()
        return 10.0 * total / points

    def critic_round(self) -> float:
        real = rings(BATCH)
        with torch.no_grad():
            fake = self.sample(BATCH)
        loss = self.critic(fake).mean() - self.critic(real).mean() + self.gradient_penalty(real, fake)
        self.opt_c.zero_grad()
        loss.backward()
        self.opt_c.step()
        return loss.item()

    def generator_round(self) -> float:
        loss = -self.critic(self.sample(BATCH)).mean()
        self.opt_g.zero_grad()
        loss.backward()
        self.opt_g.step()
        return loss.item()


def main():
    torch.manual_seed(1)
    gan = Gan()
    turn = 0
    while True:
        critic_losses = [gan.critic_round() for _ in range(CRITIC_ROUNDS)]
        generator_loss = gan.generator_round()
        turn += 1
        unit_done()
        if turn % 20 == 0:
            print(f"D {sum(critic_losses) / CRITIC_ROUNDS:.4f}  G {generator_loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
