"""A loop that logs as it would to wandb, with calls that we do not know among them."""

import torch
from adapting import LOGS, each_fault, report, weights

STEPS = 20


def main(fault: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    if fault != "none":
        import deepseek.log.adapters.wandb as wandb

        wandb.login()
        wandb.init(
            project="shop", name="run", dir=str(LOGS), config={"lr": 0.1}, settings=wandb.Settings(x_disable_stats=True)
        )
        wandb.watch(model, log="all")
        wandb.config.update({"batch": 8})
        wandb.config.seed = 0
        wandb.define_metric("val.*", step_metric="epoch")
    for step in range(STEPS):
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append((step, loss.item()))
        if fault != "none":
            wandb.log({"train": {"loss": loss.item()}, "picture": wandb.Image(None)}, commit=False)
            wandb.log({"lr": 0.1})
    if fault != "none":
        wandb.log({"val.loss": 0.5}, step=100)
        wandb.log({"val.late": 0.5}, step=50)
        wandb.summary["best"] = 0.25
        wandb.log_artifact(wandb.Artifact("model", type="model"))
        wandb.finish()
    rows = {"train.loss": losses, "lr": [(step, 0.1) for step in range(STEPS)], "val.loss": [(100, 0.5)]}
    config = {"lr": 0.1, "batch": 8, "seed": 0, "wandb": {"project": "shop", "name": "run"}}
    report(weights(model), rows, config, [["summary", 100]])


if __name__ == "__main__":
    each_fault(main)
