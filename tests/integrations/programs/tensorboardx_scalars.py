"""The same scalars by tensorboardX."""

import torch_tensorboard
from tensorboardX import SummaryWriter

if __name__ == "__main__":
    torch_tensorboard.main("x", SummaryWriter)
