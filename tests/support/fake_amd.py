"""A folder that looks as /sys and /dev do on a machine with AMD's cards: what the amdgpu driver shows of each, described."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

MI300X = {
    "vendor": "0x1002", "device": "0x74a1", "product_name": "AMD Instinct MI300X OAM", "unique_id": "5a7c21e4f0b3d981",
    "gpu_busy_percent": "87", "mem_busy_percent": "31", "mem_info_vram_total": 206141652992, "mem_info_vram_used": 150323855360,
    "current_link_speed": "32.0 GT/s PCIe", "current_link_width": "16", "current_compute_partition": "SPX",
    "power/runtime_status": "active", "ras/umc_err_count": "ue: 0\nce: 3\n",
    "hwmon/hwmon4/power1_input": 612000000, "hwmon/hwmon4/power1_cap": 750000000, "hwmon/hwmon4/freq1_input": 2100000000,
    "hwmon/hwmon4/freq2_input": 1300000000, "hwmon/hwmon4/temp2_label": "junction", "hwmon/hwmon4/temp2_input": 71000,
    "hwmon/hwmon4/temp2_crit": 100000, "hwmon/hwmon4/temp2_emergency": 105000, "hwmon/hwmon4/temp3_label": "mem", "hwmon/hwmon4/temp3_input": 58000,
}  # fmt: skip
RADEON = {
    "vendor": "0x1002", "device": "0x744c", "gpu_busy_percent": "12", "mem_info_vram_total": 25753026560, "mem_info_vram_used": 2147483648,
    "power/runtime_status": "active", "hwmon/hwmon2/power1_average": 41000000, "hwmon/hwmon2/temp1_input": 44000, "hwmon/hwmon2/temp1_crit": 110000,
    "hwmon/hwmon2/pwm1": 51, "hwmon/hwmon2/pwm1_max": 255,
}  # fmt: skip


class AmdMachine(NamedTuple):
    root: Path

    def card(self, number: int, files: dict[str, object], address: str, kfd: int | None = None) -> Path:
        """Its PCI device. `kfd` is its id among the compute devices."""
        device = self.root / "sys/devices/pci0000:00" / address
        render = 128 + number
        for name, value in files.items():
            self.write(device / name, value)
        (device / "drm" / f"renderD{render}").mkdir(parents=True)
        self.write(self.root / f"dev/dri/renderD{render}", "")
        link = self.root / f"sys/class/drm/card{number}"
        link.mkdir(parents=True)
        (link / "device").symlink_to(device)
        if kfd is not None:
            node = self.root / f"sys/class/kfd/kfd/topology/nodes/{number + 1}"
            self.write(node / "gpu_id", kfd)
            self.write(node / "properties", f"simd_count 1216\nsimd_per_cu 4\ndrm_render_minor {render}\n")
        return device

    def process(self, pid: int, kfd: int, used: int, units: int) -> None:
        folder = self.root / f"sys/class/kfd/kfd/proc/{pid}"
        self.write(folder / f"vram_{kfd}", used)
        self.write(folder / f"stats_{kfd}" / "cu_occupancy", units)

    @staticmethod
    def write(path: Path, value: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
