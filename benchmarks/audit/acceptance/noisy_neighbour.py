import math

import torch
from pace import unit_done

torch.manual_seed(5)
V = 60
emb = torch.nn.Embedding(V, 80)
rnn = torch.nn.LSTM(80, 80, 2, batch_first=True)
out = torch.nn.Linear(80, V)
params = [*emb.parameters(), *rnn.parameters(), *out.parameters()]
opt = torch.optim.Adam(params, 1e-3)


def get_batch(bs=8, t=24):
    a = torch.randint(0, V, (bs, 1))
    return (a + torch.arange(t + 1) * (1 + a % 3)) % V


avg = math.log(V)
n = 0
while True:
    b = get_batch()
    h, _ = rnn(emb(b[:, :-1]))
    loss = torch.nn.functional.cross_entropy(out(h).reshape(-1, V), b[:, 1:].reshape(-1))
    opt.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 0.5)
    opt.step()
    avg = 0.98 * avg + 0.02 * loss.item()
    n += 1
    unit_done()
    if n % 40 == 0:
        print("perplexity %.2f" % math.exp(avg), flush=True)
