"""DQN on a pole that is to be kept upright, with prioritized replay and n-step returns."""
import math
import random

import torch
from pace import more, unit_done
from torch import nn

torch.set_num_threads(1)
torch.set_flush_denormal(True)
GAMMA = 0.98


class Pole:
    def reset(self):
        self.s = [random.uniform(-0.05, 0.05) for _ in range(4)]
        self.t = 0
        return self.s

    def step(self, action):
        x, v, a, w = self.s
        force = 10.0 if action else -10.0
        sin, cos = math.sin(a), math.cos(a)
        temp = (force + 0.05 * w * w * sin) / 1.1
        wdot = (9.8 * sin - cos * temp) / (0.5 * (4 / 3 - 0.1 * cos * cos / 1.1))
        vdot = temp - 0.05 * wdot * cos / 1.1
        self.s = [x + 0.02 * v, v + 0.02 * vdot, a + 0.02 * w, w + 0.02 * wdot]
        self.t += 1
        return self.s, 1.0, abs(self.s[0]) > 2.4 or abs(self.s[2]) > 0.21 or self.t >= 200


class SumTree:
    def __init__(self, capacity):
        self.capacity, self.nodes = capacity, [0.0] * (2 * capacity)

    def set(self, index, value):
        i = index + self.capacity
        change = value - self.nodes[i]
        while i:
            self.nodes[i] += change
            i //= 2

    def find(self, mass):
        i = 1
        while i < self.capacity:
            i *= 2
            if mass > self.nodes[i] and self.nodes[i + 1] > 0:
                mass -= self.nodes[i]
                i += 1
        return i - self.capacity


class Replay:
    """Keeps the last 2^15 moves. A return counts up to `horizon` moves ahead, or to the end of the episode."""

    def __init__(self, capacity=1 << 15):
        self.tree, self.moves, self.capacity, self.at = SumTree(capacity), [], capacity, 0

    def add(self, *move):
        if len(self.moves) < self.capacity:
            self.moves.append(move)
        else:
            self.moves[self.at] = move
        self.tree.set(self.at, 1.0)
        self.at = (self.at + 1) % self.capacity

    def look_ahead(self, start, horizon):
        total, weight, i = 0.0, 1.0, start
        end = self.moves[start][3]
        for _ in range(horizon):
            _, _, reward, end, over = self.moves[i]
            total += weight * reward
            weight *= GAMMA
            i = (i + 1) % len(self.moves)
            if over:
                return total, 0.0, end
        return total, weight, end

    def sample(self, n, tries):
        """of several draws the one whose return is the most extreme is kept"""
        picked, rows = [], []
        slot = self.tree.nodes[1] / n
        for k in range(n):
            i = min(self.tree.find((k + random.random()) * slot), len(self.moves) - 1)
            best = max((self.look_ahead((i + j) % len(self.moves), 6) for j in range(tries)), key=lambda row: row[0])
            state, action = self.moves[i][:2]
            picked.append(i)
            rows.append((state, action, *best))
        return picked, rows


def network():
    return nn.Sequential(nn.Linear(4, 320), nn.ReLU(), nn.Linear(320, 320), nn.ReLU(), nn.Linear(320, 2))


class Agent:
    def __init__(self):
        self.q, self.frozen, self.replay, self.epsilon = network(), network(), Replay(), 0.3
        self.opt = torch.optim.Adam(self.q.parameters(), lr=5e-4)

    @torch.no_grad()
    def act(self, state, greedy=False):
        if not greedy and random.random() < self.epsilon:
            return random.randrange(2)
        return int(self.q(torch.tensor(state)).argmax())

    def learn(self):
        picked, rows = self.replay.sample(256, 1 + round(28 * more()))
        s, a, r, g, nxt = (torch.tensor(c) for c in zip(*rows))
        with torch.no_grad():
            target = r + g * self.frozen(nxt).max(1).values
        error = self.q(s).gather(1, a[:, None]).squeeze(1) - target
        loss = nn.functional.huber_loss(error, torch.zeros_like(error))
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        for i, e in zip(picked, error.abs().tolist()):
            self.replay.tree.set(i, min(e, 10.0) ** 0.6 + 0.01)

    def greedy_return(self, env):
        state, total, over = env.reset(), 0.0, False
        while not over:
            state, reward, over = env.step(self.act(state, greedy=True))
            total += reward
        return total


def main():
    agent, env, moves, updates, returns = Agent(), Pole(), 0, 0, []
    while True:
        state, total, over = env.reset(), 0.0, False
        while not over:
            action = agent.act(state)
            after, reward, over = env.step(action)
            agent.replay.add(state, action, reward, after, over)
            state, total, moves = after, total + reward, moves + 1
            if moves % 12 == 0 and moves > 300:
                agent.learn()
                updates += 1
                unit_done()
                if updates % 100 == 0:
                    agent.frozen.load_state_dict(agent.q.state_dict())
        agent.epsilon = max(0.05, agent.epsilon * 0.98)
        returns.append(total)
        if len(returns) % 10 == 0:
            print(f"return {sum(returns[-10:]) / 10:.1f} (greedy {agent.greedy_return(Pole()):.0f}), epsilon {agent.epsilon:.2f}", flush=True)


main()
