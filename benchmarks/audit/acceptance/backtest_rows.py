import numpy as np
import pandas as pd
from pace import more, unit_done

START = 10_000.0


def make_prices(rs, n):
    r = rs.normal(0.0002, 0.01, n)
    df = pd.DataFrame({"close": 100 * np.exp(np.cumsum(r))})
    df["fast"] = df.close.ewm(span=5).mean()
    df["slow"] = df.close.ewm(span=20).mean()
    df["vol"] = df.close.pct_change().rolling(10, min_periods=1).std().fillna(0.01)
    return df


def simulate(df, fee):
    cash, pos = START, 0.0
    equity = []
    for _, row in df.iterrows():
        want = 1.0 if row["fast"] > row["slow"] else 0.0
        if want and not pos:
            pos = cash / row["close"] * (1 - fee)
            cash = 0.0
        elif pos and not want:
            cash = pos * row["close"] * (1 - fee)
            pos = 0.0
        equity.append(cash + pos * row["close"])
    return pd.Series(equity)


def sharpe(eq):
    r = eq.pct_change().dropna()
    return float(r.mean() / (r.std() + 1e-12) * 252**0.5)


def fit_ridge(df):
    X = np.column_stack([df.fast / df.close, df.slow / df.close, df.vol, np.ones(len(df))])
    return np.linalg.solve(X.T @ X + 0.1 * np.eye(4), X.T @ df.close.pct_change().shift(-1).fillna(0))


def main():
    rs = np.random.RandomState(3)
    out = []
    while True:
        bars = 120 + int(300 * more())
        prices = make_prices(rs, bars)
        w = fit_ridge(prices)
        out.append(sharpe(simulate(prices, 0.001 + 0 * w[0])))
        unit_done()
        if len(out) % 20 == 0:
            print("sharpe", round(np.median(out), 3), flush=True)


main()
