"""Trains on what a service in another process answers: nearest neighbours by an exact search."""

import multiprocessing
import pickle
import socket
import struct

import numpy as np
import torch
from pace import more, unit_done
from torch import nn

DIM = 24
GALLERY = 1500


def send(connection, value):
    blob = pickle.dumps(value, protocol=5)
    connection.sendall(struct.pack("!I", len(blob)) + blob)


def receive_exactly(connection, count):
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def receive(connection):
    (length,) = struct.unpack("!I", receive_exactly(connection, 4))
    return pickle.loads(receive_exactly(connection, length))


def serve(connection):
    """Searches as deep as the question asks for."""
    gallery = np.random.default_rng(1).standard_normal((GALLERY, DIM)).astype(np.float32)
    try:
        while True:
            request = receive(connection)
            for _ in range(request["depth"]):
                distances = ((gallery[None, :, :] - request["queries"][:, None, :]) ** 2).sum(-1)
                nearest = np.argsort(distances, axis=1)[:, :5]
            send(connection, gallery[nearest].mean(axis=1))
    except EOFError:
        pass


class SearchClient:
    def __init__(self):
        ours, theirs = socket.socketpair()
        self.connection = ours
        context = multiprocessing.get_context("fork")
        self.server = context.Process(target=serve, args=(theirs,), daemon=True)
        self.server.start()
        theirs.close()

    def search(self, queries, depth):
        send(self.connection, {"queries": queries, "depth": depth})
        return receive(self.connection)


class Refiner(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 * DIM, 400), nn.Tanh(), nn.Linear(400, 400), nn.Tanh(), nn.Linear(400, DIM))

    def forward(self, x, hints):
        return self.net(torch.cat([x, hints], dim=1))


def hints_for(client, x):
    depth = 1 + round(4 * more())
    return torch.from_numpy(client.search(x.numpy(), depth))


def main():
    client = SearchClient()
    torch.manual_seed(15)
    model = Refiner()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    seen = 0
    while True:
        x = torch.randn(12, DIM)
        loss = (model(x, hints_for(client, x)) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += len(x)
        unit_done()
        if seen % 480 == 0:
            print(f"loss: {loss.item():.5f}", flush=True)


if __name__ == "__main__":
    main()
