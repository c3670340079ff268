"""The port `Inspection`: the guest's process and its server, as the kernel tells them."""

import os
from pathlib import Path

from temporalio import activity

from contract.ports.inspection import Diagnostics, Hardware, Inspection
from guest_worker import __version__
from guest_worker.services import Services


class KernelInspection(Inspection):
    """Reads `/proc`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn
    def get_diagnostics(self) -> Diagnostics:
        found = _numbers(Path("/proc/self/status"))
        return Diagnostics(
            version=__version__,
            threads=found["Threads"],
            fd_size=found["FDSize"],
            vm_size=found["VmSize"],
            vm_peak=found["VmPeak"],
            vm_rss=found["VmRSS"],
            vm_hwm=found["VmHWM"],
        )

    @activity.defn
    def get_hardware(self) -> Hardware:
        told = self._services.settings.memory_mib  # where the server is no machine of its own
        memory = told * 1024 if told else _numbers(Path("/proc/meminfo"))["MemTotal"]
        return Hardware(mem_total=memory, num_cpus=len(os.sched_getaffinity(0)))

    @activity.defn
    def ping(self) -> None:
        return


def _numbers(file: Path) -> dict[str, int]:
    """The lines that tell a number, by name."""
    pairs = (line.partition(":") for line in file.read_text().splitlines())
    words = ((name, text.split()) for name, _, text in pairs)
    return {name: int(each[0]) for name, each in words if each and each[0].isdigit()}
