"""As the full training loop of the Hugging Face course: Accelerate, a progress bar over all steps, and its loss beside the bar."""

import time

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset
from tqdm.auto import tqdm
from transformers import get_scheduler

torch.set_num_threads(1)
accelerator = Accelerator(cpu=True)
model: nn.Module = nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(16 * 16, 2))
optimizer = AdamW(model.parameters(), lr=3e-4)
labels = torch.randint(0, 2, (8_000,))
data = TensorDataset(torch.randint(0, 40, (8_000, 16)) + 10 * labels.view(-1, 1), labels)
train_dl, model, optimizer = accelerator.prepare(DataLoader(data, batch_size=8, shuffle=True), model, optimizer)
num_epochs = 3
num_training_steps = num_epochs * len(train_dl)
lr_scheduler = get_scheduler("linear", optimizer=optimizer, num_warmup_steps=0, num_training_steps=num_training_steps)
progress_bar = tqdm(range(num_training_steps))
model.train()
for _epoch in range(num_epochs):
    for tokens, target in train_dl:
        loss = nn.functional.cross_entropy(model(tokens), target)
        accelerator.backward(loss)
        optimizer.step()
        lr_scheduler.step()
        optimizer.zero_grad()
        progress_bar.set_postfix(loss=loss.item())
        progress_bar.update(1)
        time.sleep(0.01)
