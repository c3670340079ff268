"""What a guest says of itself."""

from api.answers.base import Answer


class Diagnostics(Answer):
    """The guest worker's process; sizes in KiB."""

    version: str
    threads: int
    fdSize: int  # noqa: N815 - Trove's names
    vmSize: int  # noqa: N815
    vmPeak: int  # noqa: N815
    vmRss: int  # noqa: N815
    vmHwm: int  # noqa: N815


class Hardware(Answer):
    """What the server has; memory in KiB."""

    mem_total: int
    num_cpus: int


class OneDiagnostics(Answer):
    """The guest worker's process."""

    diagnostics: Diagnostics


class OneHardware(Answer):
    """What the server has."""

    hwinfo: Hardware
