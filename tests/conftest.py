"""What all tests share: one stack and one Temporal server a session, started when the first test asks for them."""

import os
import signal
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from coverage import Coverage
from xdist.scheduler import LoadScopeScheduling

from contract import process
from tests.stack import RunningStack, running_stack

pytest_plugins = ["tests.worlds"]
HERE = Path(__file__).parent

# Files with tables of many slow cases: about how many of them `make test` takes, spread over each table. `make test-all`
# takes every case.
SAMPLED = {
    "accounts/test_all_or_nothing.py": 12,
    "accounts/test_deadlines.py": 4,
    "contracts/test_administrator.py": 12,
    "contracts/test_adoption.py": 6,
    "contracts/test_after_root.py": 16,
    "contracts/test_connections.py": 8,
    "contracts/test_half_done.py": 6,
    "contracts/test_locks.py": 16,
    "contracts/test_mariadb_grants.py": 20,
    "contracts/test_mariadb_locks.py": 8,
    "contracts/test_mariadb_sessions.py": 20,
    "contracts/test_root_locks.py": 6,
    "contracts/test_sharing.py": 24,
    "runbooks/test_change_access.py": 6,
    "runbooks/test_change_tls.py": 6,
    "runbooks/test_change_series.py": 6,
    "runbooks/test_create.py": 20,
    "runbooks/test_delete_and_restart.py": 12,
    "runbooks/test_making_way.py": 8,
    "runbooks/test_members.py": 6,
    "runbooks/test_power.py": 10,
    "runbooks/test_rebuild.py": 6,
    "runbooks/test_reconfigure.py": 6,
    "runbooks/test_resize_flavor.py": 8,
    "runbooks/test_resize_volume.py": 6,
    "runbooks/test_upgrade.py": 6,
    "whole/test_away.py": 4,
    "whole/test_operations_away.py": 8,
}
# `make test` runs four processes (pytest-xdist), for most tests wait more than they compute. All tests of a folder run in
# one of them, for what they share is made once; those of SPLIT are told apart by file. The longest come first, so that the
# processes end at about the same time.
SPLIT = ("contracts", "runbooks", "whole")
LONGEST = (
    "api", "redteam", "whole/test_demo.py", "accounts", "runbooks", "whole", "contracts/test_full_disk.py", "contracts",
    "sequences", "configurations", "localcloud", "records",
)  # fmt: skip
# Folders whose tests call the product in their own process: `make test` measures which lines and branches they reach. The
# others are not traced: it takes two thirds more processor time, and most of what they test runs in other processes.
MEASURED = ("architecture", "core", "gateway", "records", "replay")
TOLD = "COVERAGE_PROCESS_CONFIG"  # has coverage.py measure the processes that are started, too


def pytest_configure() -> None:
    """A test run that is told to end still cleans up: SIGTERM is as good as Ctrl-C.

    A worker in this process that meets a fatal error, as a guest's does whose instance is gone, ends alone.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    process.leave = _stay


def _stay(code: int) -> NoReturn:
    raise RuntimeError(f"a worker of this process would have ended it with exit code {code}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--every-case`: the whole of each table."""
    parser.addoption("--every-case", action="store_true", help="run every case of the tables in SAMPLED")


class ByFolder(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a process all tests of a folder, or of a file of SPLIT."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).relative_to(HERE.name)
        return str(file) if file.parts[0] in SPLIT else file.parts[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    """Where tests run in several processes, this says what runs in which."""
    return ByFolder(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first; unless a file is named or all are asked for, a sample of SAMPLED."""
    place = {each: number for number, each in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(_file(item), place.get(_folder(item), len(place))))
    if (
        config.option.every_case
        or any("::" in each or each.endswith(".py") for each in config.args)
        or config.option.keyword
    ):
        return
    dropped: set[pytest.Item] = set()
    tables: dict[str, dict[str, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if _file(item) in SAMPLED:
            tables[_file(item)][item.name.partition("[")[0]].append(item)
    for file, tests in tables.items():
        share = SAMPLED[file] / sum(map(len, tests.values()))
        for cases in tests.values():
            dropped |= set(cases) - set(_spread(cases, max(1, round(share * len(cases)))))
    if dropped:
        config.hook.pytest_deselected(items=list(dropped))
        items[:] = [each for each in items if each not in dropped]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Trace what MEASURED calls, and neither other tests nor the processes that these start."""
    measuring = None if _folder(item) in MEASURED else Coverage.current()
    if measuring is None:
        return (yield)
    told = os.environ.pop(TOLD, "")
    measuring.stop()
    try:
        return (yield)
    finally:
        os.environ[TOLD] = told
        measuring.start()


def _folder(item: pytest.Item) -> str:
    return _file(item).partition("/")[0]


def _file(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""


def _spread(cases: Sequence[pytest.Item], count: int) -> list[pytest.Item]:
    """So many of the cases, evenly spread over their order."""
    if count >= len(cases):
        return list(cases)
    return [cases[number * len(cases) // count] for number in range(count)]


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """The whole stack."""
    with running_stack() as running:
        yield running
