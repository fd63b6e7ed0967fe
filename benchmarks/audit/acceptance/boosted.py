import lightgbm as lgb
import numpy as np
from pace import more, unit_done

rng = np.random.default_rng(1)
X = rng.normal(size=(6000, 30))
y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(float)
queries = np.repeat(np.arange(300), 20)


def focal(preds, data):
    p = 1 / (1 + np.exp(-preds))
    t = data.get_label()
    return p - t, np.maximum(p * (1 - p), 1e-3)


def ndcg_at(preds, data):
    """query by query, the more of them the more careful"""
    n = 10 + int(170 * more())
    labels = data.get_label()
    total = 0.0
    for q in range(n):
        sl = slice(q * 20 % 6000, q * 20 % 6000 + 20)
        order = np.argsort(-preds[sl])
        gains = labels[sl][order] / np.log2(np.arange(2, 22))
        best = np.sort(labels[sl])[::-1] / np.log2(np.arange(2, 22))
        total += gains.sum() / max(best.sum(), 1e-9)
    return "ndcg20", total / n, True


def tick(env):
    unit_done()


train = lgb.Dataset(X, y, free_raw_data=False)
params = {"objective": focal, "learning_rate": 0.02, "num_leaves": 15, "num_threads": 1, "verbosity": -1, "metric": "None"}
while True:
    lgb.train(
        params, train, num_boost_round=400, valid_sets=[train], valid_names=["train"], feval=ndcg_at,
        callbacks=[lgb.log_evaluation(period=10), tick],
    )  # fmt: skip
