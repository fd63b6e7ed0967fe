"""The GPUs that NVML finds, and what it means that there are none."""

from __future__ import annotations

from collections import Counter

from .place import CheckedHost, Fact, Symptom

NVIDIA, DISPLAY, ACCELERATED = "0x10de", "0x03", "0x0302"


def check(place: CheckedHost) -> Symptom:
    import pynvml as nvml  # the package nvidia-ml-py

    from collectors.gpu.errors import NOTES

    cards = _cards(place)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        sentence = NOTES.get(error.value, f"The NVIDIA driver answers {str(error)!r}.")
        facts = {"cards_on_the_bus": cards, "nvml_error": int(error.value)}
        if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            return Symptom("wrong", sentence, "Type: sudo reboot", facts)
        if not cards and not place.read("proc/driver/nvidia/version"):
            return Symptom("ok", "there is no NVIDIA GPU on this machine: the pages show the host.", "", facts)
        return Symptom(
            "warning", f"{cards or 'some'} NVIDIA card(s) are there, but: {sentence}", _remedy(nvml, error.value), facts
        )
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        names: Counter[str] = Counter()
        lost = 0
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                names[_text(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(index)))] += 1
            except nvml.NVMLError:
                lost += 1
    finally:
        nvml.nvmlShutdown()
    said = ", ".join(f"{count} x {name}" for name, count in names.items()) or "no card"
    found: dict[str, Fact] = {
        "driver": driver,
        "cards": sum(names.values()),
        "lost": lost,
        "cards_on_the_bus": cards,
        "names": said,
    }
    if lost:
        return Symptom("warning", f"driver {driver}: {said}; {lost} do not answer.", "Type: nvidia-smi -q | grep -A3 'GPU is lost', then restart the machine", found)  # fmt: skip
    if not names:
        return Symptom("warning", f"driver {driver} shows no card to this process.", "Type: nvidia-smi -L; in a container start it with: docker run --gpus all ...", found)  # fmt: skip
    return Symptom("ok", f"driver {driver}: {said}.", "", found)


def _remedy(nvml: object, code: int) -> str:
    if code == getattr(nvml, "NVML_ERROR_LIBRARY_NOT_FOUND", None):
        return "Type: sudo apt-get install nvidia-driver-580 (or the driver of your distribution); in a container: docker run --gpus all ..."
    if code == getattr(nvml, "NVML_ERROR_NO_PERMISSION", None):
        return "Type: ls -l /dev/nvidiactl; the user must be in the group that owns it"
    return "Type: sudo modprobe nvidia; what it says stands in: sudo dmesg | tail"


def _cards(place: CheckedHost) -> int:
    """NVIDIA's display and 3D controllers on the PCI bus, whatever the driver says."""
    found = 0
    try:
        devices = list((place.root / "sys/bus/pci/devices").iterdir())
    except OSError:
        return 0
    for device in devices:
        where = f"sys/bus/pci/devices/{device.name}"
        found += place.read(f"{where}/vendor") == NVIDIA and place.read(f"{where}/class").startswith(DISPLAY)
    return found


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
