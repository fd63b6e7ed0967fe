"""Features of customers from their raw events."""

import numpy as np
import pandas as pd

WINDOWS = (3, 7)
COLUMNS = ["amount", "age_days", "is_refund"]


def clean_events(events: pd.DataFrame) -> pd.DataFrame:
    events = events[events["amount"].abs() < 1e4].copy()
    events["is_refund"] = (events["amount"] < 0).astype(float)
    events["age_days"] = events["day"].max() - events["day"]
    return events.sort_values(["customer", "day"])


def rolling_features(events: pd.DataFrame) -> pd.DataFrame:
    """Rolling sums a customer; slow for many customers, since each is a frame of its own."""
    rows = []
    for customer, own in events.groupby("customer", sort=False):
        amount = own["amount"]
        row = {"customer": customer}
        for days in WINDOWS:
            rolled = amount.rolling(days, min_periods=1)
            row[f"sum_{days}"] = rolled.sum().iloc[-1]
            row[f"std_{days}"] = rolled.std().fillna(0.0).iloc[-1]
        rows.append(row)
    return pd.DataFrame(rows).set_index("customer")


def static_features(events: pd.DataFrame) -> pd.DataFrame:
    return events.groupby("customer")[COLUMNS].mean()


def to_matrix(frame: pd.DataFrame) -> np.ndarray:
    values = frame.to_numpy(dtype=np.float32)
    return (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6)
