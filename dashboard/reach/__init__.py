"""How the dashboard is reached: where it listens, below which path, by which certificate, and through which proxies."""
