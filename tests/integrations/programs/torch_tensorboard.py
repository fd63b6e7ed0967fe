"""Scalars by PyTorch's writer, read back by TensorBoard."""

from telling import LOGS, half, tell
from torch.utils.tensorboard import SummaryWriter


def main(run: str = "torch", writer: type[SummaryWriter] = SummaryWriter) -> None:
    with writer(str(LOGS / run)) as log:
        for step in range(200):
            log.add_scalar("train/loss", 1 / (1 + step), step)
            log.add_scalar("odd", float("nan") if step % 2 else float("-inf"), 3 * step)
            if step == 99:
                log.flush()
                half()
    tell({run: read_back(run)})


def read_back(run: str) -> dict[str, list[tuple[int | None, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(LOGS / run), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


if __name__ == "__main__":
    main()
