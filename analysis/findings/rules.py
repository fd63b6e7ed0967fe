"""All rules, a row each. The table in docs/findings.md, the page, the alerts and the tests are driven by these rows."""

from __future__ import annotations

from typing import Final

from collectors.message import percent

from ..ledger.kinds import LABELS
from . import cards, life, memory, pace, services, training
from . import rule as names
from .ledger import EVERY_S, SPENT_ON, UNSURE, WINDOW_S, spent
from .rule import AnyRule, MachineRule, RunRule

_SPENT_NEEDS = f"{WINDOW_S:g} s of stacks after the first minute of steps, and with a GPU its counter"


def _spent(name: str, title: str, source: str) -> RunRule:
    kind, share = SPENT_ON[name].kind, SPENT_ON[name].share
    return RunRule(
        name,
        "time",
        title,
        "note",
        WINDOW_S + EVERY_S,
        _SPENT_NEEDS,
        f"the ledger puts *{LABELS[kind]}* at {percent(share)} or more of the last {WINDOW_S:g} s even at the low end of its range, or at "
        f"{percent(UNSURE * share)} or more as the largest cause, while steps go on",
        source,
        spent(name),
        EVERY_S,
    )


# A row per rule: name, topic, title, weight, seconds needed, what is needed, when it holds, the source of its threshold, its function.
RUN_RULES: Final[tuple[RunRule, ...]] = (
    _spent("data_stall", "Waiting for data", "idle time by the ledger, never the loader's wait alone (HTA: host wait)"),
    _spent("launch_bound", "Launch-bound", "HTA's host-bound share"),
    _spent("sync_every_step", "A sync every step", "CUDA semantics of PyTorch: asynchronous execution"),
    _spent("gil_bound", "GIL-bound", "py-spy issue 113"),
    _spent("lock_bound", "Lock-bound", "as for the GIL"),
    _spent("garbage_collection", "Garbage collection", "measured: 3% is what healthy runs never reach"),
    _spent("compile_late", "Compiling late", "PyTorch: torch.compile troubleshooting"),
    _spent("cpu_taken", "CPU taken by other processes", "the kernel's run queue; measured on busy hosts"),
    _spent("logging", "Logging in the loop", "measured: 5% is what healthy runs never reach"),
    _spent("checkpoint_share", "Checkpoints take long", "ml-goodput: CHECKPOINT_SAVE badput"),
    _spent("slow_function", "Slow Python", "half of what blame calls most of a loss; healthy runs are far below it"),
    _spent("waiting", "Waiting", "as for data"),
    RunRule("slower", "time", "Slower than before", "note", pace.LATE * pace.BLOCK_S + 20, "1 min of steps, or of stacks where there are none", f"for 30 s each step takes {pace.SLOWER:g} times as long as in the faster third of the time before; without steps, functions have {percent(100 * pace.GAINED)} of the time more than ever before, while the rest of the loop goes on in its proportions", "the unit of blame; what the recorded healthy runs reach is below 1.2", pace.slower, 10.0),
    RunRule("slow_steps", "time", "Slow steps", "note", 30.0, "60 steps, three of them slow", "three or more of 400 steps take three times the median and six spreads more, cost 5%, stand apart from the others, and come at no rhythm of 50 steps or more, nor with a validation or a checkpoint", "SageMaker Debugger: StepOutlier", pace.slow_steps),
    RunRule("recompiles", "time", "Recompiles", "note", 2.0, "3 events `compile` or `recompile`", "three compilations of one rank within ten minutes after step 50", "PyTorch: torch._dynamo.config.recompile_limit is 8", pace.recompiles),
    RunRule("checkpoint_stall", "time", "Checkpoint stall", "note", 2.0, "an event `checkpoint` with its seconds", "one took more than 20 s and than 50 steps, in which no step was made", "ml-goodput: CHECKPOINT_SAVE badput", pace.checkpoint_stall),
    RunRule("no_checkpoint", "time", "No checkpoint", "note", 10.0, "4 checkpoints", "none for three times the usual interval and twice the longest one, while steps go on", "the interval is the run's own", pace.no_checkpoint, 10.0),
    RunRule("nan", "training", "NaN or infinity", "note", 2.0, "1 point", "a loss or a gradient norm turns NaN or infinite; gradients under GradScaler are left to its own rule; NaN that comes and goes says that there is no value", "SageMaker Debugger: ExplodingTensor", training.nan),
    RunRule("nan_lasting", "training", "NaN for ten steps", "alert", 2.0, "10 steps", "a training loss that had a value, or all of them, or a gradient norm after 200 steps without a scaler, is not finite ten steps in a row", "GradScaler skips single steps; ten in a row do not recover", training.nan_lasting),
    RunRule("loss_spike", "training", "Loss spike", "note", 2.0, "50 steps", "three of five values are eight spreads above the median of 100 before, and three times as far as the second highest of them, and not a ten-thousandth of what the loss has fallen by; a single batch is no spike", "PaLM, section 5.1: spikes that last, despite clipping", training.loss_spike),
    RunRule("gradient_blow_up", "training", "Gradients blow up", "note", 2.0, "70 steps", "ten times the median, and beyond the tail of 200 before, in 5 of 20 steps, or once, if the loss of the next steps is higher, too", "ZClip (arXiv 2504.02507): single ones are clipped away", training.gradient_blow_up),
    RunRule("gradient_vanishing", "training", "Gradients vanish", "note", 60.0, "600 steps", "a norm is below a thousandth of its own median for 500 steps, and the loss has not gone with it", "SageMaker Debugger: VanishingGradient", training.gradient_vanishing, 10.0),
    RunRule("scaler_collapse", "training", "GradScaler collapses", "note", 10.0, "200 steps", "after 200 steps of an attempt: three back-offs in 100 steps, or a scale below 1", "torch/amp/grad_scaler.py: halved at an overflow, doubled after 2,000 steps", training.scaler_collapse),
    RunRule("new_best", "training", "New best", "note", 2.0, "4 validations", "a validation's loss or score is better than all before it; one while the steps grow by half", "-", training.new_best),
    RunRule("memory_creep", "memory", "Memory creep", "note", memory.MIN_S + 20, "5 min after the first 1,000 steps", "the least of each eighth of the time since then rises, and does not level out; the limit is reached within a day and before the planned end; within an hour it is an alert; where the native sampler sees the process grow, up to three lines that may keep the memory are named", "Theil-Sen's slope; SageMaker Debugger: GPUMemoryIncrease", memory.memory_creep, 15.0),
    RunRule("gpu_memory_creep", "memory", "GPU memory fills", "note", memory.MIN_S + 20, "5 min after the first 1,000 steps", "as memory creep, of a card that is half full", "Theil-Sen's slope", memory.gpu_memory_creep, 15.0),
    RunRule("straggler", "ranks", "Straggler", "note", pace.RANK_WINDOW_S + 10, "50 s of two ranks: of stacks, or of the files of NCCL's Inspector", "the same rank waits least in the collectives in 80% of 20 blocks, and the others wait 3% for it; where the Inspector timed them, in the same collectives, of whose waiting 80% is for that rank", "OSDI '25 (arXiv 2505.05713)", pace.straggler, 10.0, series=pace.is_timed),
    RunRule("spinning", "ranks", "Busy, but waiting", "note", 30.0, "3 steps, and the card's utilization with its power or its multiprocessors", "for 15 s and twice the usual step no step ends, while the card counts as 90% busy at a power close to what it draws at rest, and few of its multiprocessors work where it says so: a collective polls until all ranks have come", "nccl issues 968 and 306: a rank that waits in NCCL counts as 100% busy; the share of the power is assumed", life.spins, 5.0),
    RunRule("crash", "life", "Crashed", "alert", 3.0, "the end of its process, or an end event", "it failed or was killed, within the last hour, and while it was watched or up to 15 min before", "-", life.crash),
    RunRule("finished", "life", "Finished", "note", 3.0, "an end event, or exit status 0", "it is finished, as for a crash", "-", life.finished),
    RunRule("script_alert", "life", "Said by the script", "alert", 2.0, "1 event `alert`", "the script calls `log.alert(...)`; of severity `note` it is one", "-", services.script_alert),
    RunRule("not_back", "life", "Not back after pre-emption", "alert", life.BACK_S + 10, "30 min", "pre-empted, and no attempt has begun for 30 min", "Slurm requeues within minutes where it does", life.not_back, 10.0),
    RunRule("queue_stuck", "life", "Stuck in the queue", "alert", 2.0, "1 event `stuck` of the queue", "for 30 min (`stuck_s`) its job waits for what others have, or what is not there; the queue says it again every five minutes", "-", services.queue_stuck),
    RunRule("hung", "life", "Hung", "alert", life.HUNG_S + 10, "5 min without a line", "no line for 5 min and 20 usual intervals; for 60 s every rank's main thread at one place, no bytes, no work, and one of the ranks in a collective or a backward pass, or all in a wait for what does not come; never in its first validation or checkpoint, nor while it compiles, sleeps or waits for a user or a client", "NCCL's own timeout is 10 min (ProcessGroupNCCL)", life.hung, 10.0),
    RunRule("silent", "life", "Silent", "note", life.SILENT_S + 30, "30 min without a line", "no line for 30 min and 20 usual intervals, and its process lives", "-", life.silent, 30.0),
    RunRule("slow_answers", "requests", "Answers are late", "alert", services.WINDOW_S + 5, "8 lines with `service/p99_s`, and `p99_target_s` in the run's configuration", "p99 is over its target in 80% of the lines of 10 s", "the target is the service's own", services.slow_answers, series=services.is_of_service),
    RunRule("requests_refused", "requests", "Requests refused", "alert", services.WINDOW_S + 5, "1 line with `service/rejected`", "more than 1% of the requests of 10 s", "-", services.requests_refused, series=services.is_of_service),
    RunRule("queue_grows", "requests", "The queue grows", "note", services.WINDOW_S + 5, "8 lines with `service/queue`", "it rises in three of four lines of 10 s, to more than twice and at least 8", "queueing theory: with more arrivals than answers it has no end", services.queue_grows, series=services.is_of_service),
    RunRule("foreign_process", "card", "Foreign process", "note", 5.0, "NVML's list of processes", "another run or another user computes on the run's card, with more than 1 GiB", "-", cards.foreign_process, 5.0),
    RunRule("contexts_on_first", "card", "Contexts on GPU 0", "note", 5.0, "NVML's list of processes", "ranks of other cards have a context on GPU 0 too", "PyTorch: torch.cuda.set_device", cards.contexts_on_first, 5.0),
)  # fmt: skip

MACHINE_RULES: Final[tuple[MachineRule, ...]] = (
    MachineRule("throttle", "card", "Throttled", "note", 60.0, "1 min of counters", "slowed by heat or a power brake for 3% of a minute; a power cap is normal at full load", "NVML: clocks event reasons; netdata's dcgm alarms", cards.throttle, 5.0),
    MachineRule("xid", "card", "XID", "note", 2.0, "1 event", "the driver reports a critical error; those that end a card's work are alerts, and those of a program's own making are said with its crash", "NVIDIA: XID Errors", cards.xid),
    MachineRule("ecc", "card", "ECC errors", "note", 15.0, "2 looks at the counters", "a new error that was not corrected, or a thousand that were within an hour", "NVIDIA: GPU Memory Error Management", cards.ecc, 5.0),
    MachineRule("remapped_rows", "card", "Remapped rows", "note", 15.0, "1 look", "a row waits for a reset to be replaced, or could not be", "NVIDIA: GPU Memory Error Management, row remapping", cards.remapped_rows, 5.0),
    MachineRule("pcie_link", "card", "PCIe link down-trained", "note", 45.0, "30 s under load", "fewer lanes or a lower generation than the same card had, or others of its kind have, while it is busy", "PCIe power saving lowers idle links only", cards.pcie_link, 5.0),
    MachineRule("gpu_lost", "card", "GPU lost", "alert", 5.0, "1 look", "the driver answers that the card is lost", "NVML: NVML_ERROR_GPU_IS_LOST", cards.gpu_lost),
    MachineRule("held_and_idle", "card", "GPU held and idle", "note", cards.IDLE_S + 30, "30 min", "more than 1 GiB is allocated, and the card was 0% busy for 30 min", "-", cards.held_and_idle, 30.0),
    MachineRule("tensor_cores_idle", "card", "Tensor cores idle", "note", 60.0, "45 s of GPM or DCGM", "below 1% while the multiprocessors are busier than 50%", "NVIDIA: DCGM profiling metrics", cards.tensor_cores_idle, 10.0),
    MachineRule("host_memory_out", "memory", "Host memory runs out", "alert", memory.MIN_S + 20, "5 min", "70% full, rising all the time, and full within the hour", "Theil-Sen's slope", memory.host_memory_out, 15.0),
    MachineRule("disk_out", "memory", "Disk runs full", "alert", memory.MIN_S + 20, "5 min, or 1 look where it is full", "full within the hour, or less than 2% and 1 GiB left", "Theil-Sen's slope", memory.disk_out, 15.0),
    MachineRule("collector_trouble", "machine", "Collector trouble", "note", services.TROUBLE_S + 5, "55 s", "a part of the collector has failed, paused or been stuck for 55 s", "-", services.collector_trouble),
)  # fmt: skip

RULES: Final[tuple[AnyRule, ...]] = (*RUN_RULES, *MACHINE_RULES)
BY_NAME: Final = {rule.name: rule for rule in RULES}
_SERIES: Final = [rule.series for rule in RUN_RULES if rule.series is not None]


def is_tracked(name: str) -> bool:
    """Whether a rule looks at a run's series of that name."""
    return names.is_tracked(name) or any(looks_at(name) for looks_at in _SERIES)
