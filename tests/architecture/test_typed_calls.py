"""What a verb takes and answers is checked where it is called: mypy refuses each wrong call here, and only those."""

import textwrap
from pathlib import Path

import pytest
from mypy import api as mypy

ROOT = Path(__file__).parents[2]
BEFORE = """
from uuid import UUID
from api.calls import ShortCalls, administer
from api.context import RequestContext, Services
from contract.domain.accounts import UserName
from contract.domain.operation import Caller
from contract.ports.cloud import Servers
from contract.ports.guest import Accounts, DatabaseName, Fenced, Lifecycle, NewDatabases, NewUsers
from contract.ports.records import Administration, Rename, ResetStatus
from workflows.member import Member

async def ask(calls: ShortCalls, member: Member, services: Services, context: RequestContext) -> None:
"""
RIGHT = [
    "names: tuple[str, ...] = (await calls.ask(Accounts.list_databases)).databases",
    "await calls.ask(Accounts.create_users, NewUsers(users=()))",
    "await member.guest(Lifecycle.stop_datastore, Fenced())",
    "await administer(services, context, Administration.rename, Rename(instance_id=member.id, name='n'))",
]
WRONG = {
    "another verb's fact": "await calls.ask(Accounts.create_users, NewDatabases(databases=()))",
    "a fact too many": "await calls.ask(Accounts.list_databases, NewDatabases(databases=()))",
    "no fact": "await calls.ask(Accounts.delete_database)",
    "another answer": "number: int = await calls.ask(Accounts.list_databases)",
    "a verb of another port": "await calls.ask(Lifecycle.stop_datastore, Fenced())",
    "no order for a guest": "await member.guest(Lifecycle.stop_datastore, DatabaseName(name='n'))",
    "no id for the cloud": "await member.cloud(Servers.require_resize_confirmed, member.id)",
    "a change of another kind": "await administer(services, context, Administration.rename, "
    "ResetStatus(instance_id=member.id, caller=Caller(project_id='p')))",
}


def refused_lines(lines: list[str], tmp_path: Path) -> list[int]:
    """Which of these lines mypy refuses, counted from 0."""
    source = tmp_path / "calls_of_the_test.py"
    source.write_text(BEFORE + textwrap.indent("\n".join(lines), "    ") + "\n")
    said, errors, _ = mypy.run(["--config-file", str(ROOT / "pyproject.toml"), "--no-pretty", "--hide-error-context",
                                str(source)])  # fmt: skip
    assert not errors
    first = BEFORE.count("\n") + 1
    found = [line.split(":") for line in said.splitlines() if ": error:" in line]
    assert all(Path(each[0]).name == source.name for each in found), said
    return sorted({int(each[1]) - first for each in found})


def test_wrong_calls_are_refused_and_right_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = [*RIGHT, *WRONG.values()]
    assert refused_lines(lines, tmp_path) == list(range(len(RIGHT), len(lines)))
