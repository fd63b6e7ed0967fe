"""Only print: the shell decides where the lines go."""

import time

for step in range(1_000_000):
    print(f"step {step} loss 1.0", flush=True)
    time.sleep(0.05)
