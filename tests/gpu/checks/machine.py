"""What is here: Python, packages, driver, card, PyTorch's view of it, and the sampler. One line each."""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module
from importlib.metadata import version

from collectors.sampler.build import PROGRAM, find_program

from ..lines import Report
from ..load import has_card, may_have_card
from ..plan import CHECKS, Setting
from ..wheels import THERE, absent

GIB = 2**30


def check(setting: Setting, report: Report) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    what = f"Python {platform.python_version()}, {platform.machine()}, Linux {platform.release()}, {memory:.0f} GiB"
    report.judge(sys.version_info >= (3, 11), "Python", f"{what}; 3.11 or later is needed.", os.cpu_count(), "cores")
    modules = sorted({module for plan in CHECKS for module in plan.needs})
    missing = absent(modules)
    if missing:
        carried = [module for module in missing if module not in THERE]
        remedy = (
            "make gpu-wheels where there is a network and copy the folder here"
            if carried
            else "start it with the Python that has them"
        )
        report.skip("packages", f"Missing: {', '.join(missing)}; {remedy}.")
    else:
        report.line("PASS", "packages", "All packages that the checks need can be imported.", len(modules))
    sampler(report)
    driver(report)
    cuda(report, "torch" in missing)


def sampler(report: Report) -> None:
    found = find_program()
    where = "It is built." if found else f"{PROGRAM.name} is missing: it comes with the folder gpu-wheels."
    report.judge(found is not None, "sampler", where)


def driver(report: Report) -> None:
    if absent(["pynvml"]):
        report.skip("driver", "Skipped: nvidia-ml-py is missing.")
        return
    from collectors.machine.nvml import NvmlCollector

    collector = NvmlCollector("here")
    collector.collect()
    inventory = collector.inventory()
    names = ", ".join(gpu.name for gpu in inventory.gpus)
    collector.close()
    sentence = f"Driver {inventory.driver}: {names}." if names else inventory.note or "The driver names no GPU."
    report.judge(bool(names), "driver", sentence, len(inventory.gpus), "GPUs")


def cuda(report: Report, is_missing: bool) -> None:
    if is_missing:
        report.skip("PyTorch", "Skipped: torch is missing.")
        return
    if may_have_card() and has_card():
        torch = import_module("torch")
        name, (major, minor) = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
        report.line("PASS", "PyTorch", f"{torch.__version__} uses {name}, compute capability {major}.{minor}.")
    else:
        report.skip("PyTorch", f"{version('torch')} sees no CUDA device: lines that need one are skipped.")
