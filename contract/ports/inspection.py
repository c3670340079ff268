"""What administrators ask of a guest itself, whatever its engine does."""

from abc import ABC, abstractmethod

from pydantic import Field
from temporalio import activity

from contract.domain.fact import Fact

MOST = 2**53  # what every reader of JSON takes


class Diagnostics(Fact):
    """The guest's own process; sizes in KiB, as the kernel tells them."""

    version: str = Field(max_length=200)
    threads: int = Field(ge=0, lt=MOST)
    fd_size: int = Field(ge=0, lt=MOST)
    vm_size: int = Field(ge=0, lt=MOST)
    vm_peak: int = Field(ge=0, lt=MOST)
    vm_rss: int = Field(ge=0, lt=MOST)
    vm_hwm: int = Field(ge=0, lt=MOST)


class Hardware(Fact):
    """What the server has; memory in KiB."""

    mem_total: int = Field(ge=0, lt=MOST)
    num_cpus: int = Field(ge=0, lt=MOST)


class Inspection(ABC):
    """Looks, changes nothing, and needs no engine."""

    @abstractmethod
    @activity.defn
    def get_diagnostics(self) -> Diagnostics: ...

    @abstractmethod
    @activity.defn
    def get_hardware(self) -> Hardware: ...

    @abstractmethod
    @activity.defn
    def ping(self) -> None:
        """Answer."""
