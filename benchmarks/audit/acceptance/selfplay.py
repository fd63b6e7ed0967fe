import logging
import math
import random
import sys

import torch
from pace import more, unit_done

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
W, H = 5, 4


class Board:
    def __init__(self, cells=None, player=1):
        self.cells = cells or [[0] * W for _ in range(H)]
        self.player = player

    def moves(self):
        return [c for c in range(W) if self.cells[0][c] == 0]

    def play(self, col):
        cells = [row[:] for row in self.cells]
        for r in range(H - 1, -1, -1):
            if cells[r][col] == 0:
                cells[r][col] = self.player
                break
        return Board(cells, -self.player)

    def winner(self):
        for r in range(H):
            for c in range(W):
                p = self.cells[r][c]
                if p == 0:
                    continue
                for dr, dc in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    rr, cc = r + 2 * dr, c + 2 * dc
                    if 0 <= rr < H and 0 <= cc < W and self.cells[rr][cc] == p and self.cells[r + dr][c + dc] == p:
                        return p
        return 0

    def tensor(self):
        return torch.tensor(self.cells, dtype=torch.float).flatten() * self.player


class Node:
    def __init__(self, board):
        self.board, self.n, self.v, self.kids = board, 0, 0.0, {}


class Tree:
    def __init__(self, sims):
        self.sims = sims

    def rollout(self, board):
        while True:
            w = board.winner()
            moves = board.moves()
            if w or not moves:
                return w
            board = board.play(random.choice(moves))

    def select(self, node):
        path = [node]
        while node.kids and len(node.kids) == len(node.board.moves()):
            node = max(node.kids.values(), key=lambda k: k.v / (k.n + 1e-9) + 1.4 * math.sqrt(math.log(path[-1].n + 1) / (k.n + 1e-9)))
            path.append(node)
        return path

    def search(self, board):
        root = Node(board)
        for _ in range(self.sims):
            path = self.select(root)
            leaf = path[-1]
            free = [m for m in leaf.board.moves() if m not in leaf.kids]
            if free and not leaf.board.winner():
                m = random.choice(free)
                leaf.kids[m] = Node(leaf.board.play(m))
                path.append(leaf.kids[m])
            result = self.rollout(path[-1].board)
            for node in path:
                node.n += 1
                node.v += -result * node.board.player
        return [root.kids[m].n / self.sims if m in root.kids else 0.0 for m in range(W)]


class Agent:
    def __init__(self):
        self.net = torch.nn.Sequential(torch.nn.Linear(W * H, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, W))
        self.opt = torch.optim.Adam(self.net.parameters(), 1e-3)

    def game(self):
        board, xs, ps = Board(), [], []
        for _ in range(2):
            pi = Tree(6 + int(60 * more())).search(board)
            xs.append(board.tensor())
            ps.append(pi)
            board = board.play(max(board.moves(), key=lambda m: pi[m]))
        return torch.stack(xs), torch.tensor(ps)

    def learn(self, xs, ps):
        for _ in range(3):
            loss = -(ps * self.net(xs).log_softmax(1)).sum(1).mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        return loss.item()


agent = Agent()
games = 0
while True:
    loss = agent.learn(*agent.game())
    games += 1
    unit_done()
    if games % 10 == 0:
        logging.info("policy loss %.4f", loss)
