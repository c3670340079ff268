"""Publishing logs to OpenStack's own Swift: what is new, once, in the layout that clients read; whatever goes wrong."""

import asyncio
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from api.settings import ApiSettings
from api.swift.containers import Account, LogContainers
from contract.domain.errors import EngineFailed, TicketRefused, Unavailable
from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from contract.ports.logs import LogPublication
from contract.ports.tickets import Ticket
from guest_worker.logs import files, publishing
from guest_worker.logs.book import LogBook, LogState
from guest_worker.logs.files import LogFile
from guest_worker.logs.publishing import Log
from guest_worker.objects import ObjectStore, open_store
from tests.stack import RunningStack
from tests.temporal import own_keyring

KEYRING = MasterKeyring.of(b"m" * 32)
LINE = "SELECT {} FROM t -- ä\n"


class Lossy(ObjectStore):
    """The real store behind a line that loses one answer: the object is there, and nobody knows."""

    def __init__(self, store: ObjectStore, lose: int) -> None:
        self._store = store
        self._left = lose

    def put(self, name: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._store.put(name, data, headers)
        self._left -= 1
        if self._left == 0:
            raise ConnectionError("the answer was lost")

    def get(self, name: str) -> bytes:
        return self._store.get(name)

    def delete(self, name: str) -> bool:
        return self._store.delete(name)

    def list_names(self) -> list[str]:
        return self._store.list_names()


@dataclasses.dataclass
class Scene:
    """A log of an instance, the container of a project, and the ways in from both sides."""

    account: Account
    instance: UUID
    log: Log
    ticket: Ticket

    @property
    def folder(self) -> str:
        return f"{self.instance}/postgresql-general"

    def store(self) -> ObjectStore:
        return open_store(self.ticket, SecretBox(own_keyring(KEYRING, self.instance), self.instance))

    def publish(self, store: ObjectStore | None = None, seconds: float = 30) -> None:
        order = LogPublication(ticket=self.ticket, folder="postgresql-general", seconds=3600)
        self.log.publish(store or self.store(), order, time.monotonic() + seconds)

    def write(self, *numbers: int) -> None:
        with self.log.path.open("a") as file:
            file.write("".join(map(LINE.format, numbers)))

    def ask(self, method: str, path: str, **more: object) -> httpx.Response:
        headers = {"X-Auth-Token": self.account.token}
        return httpx.request(method, f"{self.account.url}/database_logs{path}", headers=headers, timeout=30, **more)  # type: ignore[arg-type]

    def names(self) -> list[str]:
        found = self.ask("GET", "", params={"format": "json", "prefix": f"{self.folder}/"}).json()
        return [each["name"] for each in sorted(found, key=lambda each: str(each["last_modified"]))]

    def published(self) -> str:
        return "".join(self.ask("GET", f"/{name}").content.decode() for name in self.names())

    def lines(self) -> list[int]:
        return [int(each.split()[1]) for each in self.published().splitlines()]


def containers(http: httpx.AsyncClient) -> LogContainers:
    return LogContainers(ApiSettings(), KEYRING, http)


def with_containers(account: Account, instance: UUID) -> Ticket:
    async def ask() -> Ticket:
        async with httpx.AsyncClient(timeout=30) as http:
            return await containers(http).ticket(account, instance)

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def account(stack: RunningStack) -> Account:
    """That of project demo, with its owner's token."""
    token, project = stack.token("demo")
    return Account(f"http://127.0.0.1:{stack.settings.swift_port}/v1/AUTH_{project}", token)


@pytest.fixture
def scene(account: Account, tmp_path: Path) -> Iterator[Scene]:
    """A log that is empty."""
    instance = uuid4()
    book = LogBook(tmp_path / "guest")
    book.enabled()
    LogFile(tmp_path / "general.log").make(0o600)
    log = Log("general", "USER", tmp_path / "general.log", book, lambda lines: lines)
    yield Scene(account, instance, log, with_containers(account, instance))


def test_what_is_new_is_published_once_as_clients_read_it(scene: Scene) -> None:
    scene.write(1, 2, 3)
    with scene.log.path.open("a") as file:
        file.write("half a line")
    scene.publish()
    assert scene.lines() == [1, 2, 3]
    scene.publish()
    assert scene.lines() == [1, 2, 3]
    with scene.log.path.open("a") as file:
        file.truncate(scene.log.path.stat().st_size - len("half a line"))
    scene.write(4)
    scene.publish()
    assert scene.lines() == [1, 2, 3, 4]
    first, second = (scene.ask("HEAD", f"/{name}").headers for name in scene.names())
    assert (first["x-object-meta-lines"], second["x-object-meta-lines"]) == ("3", "1")
    assert 0 < int(first["x-delete-at"]) - time.time() <= 3600
    described = json.loads(scene.ask("GET", f"/{scene.folder}_metafile").content)
    assert described["log_name"] == "general"
    assert (
        described["log_size"]
        == scene.log.report(always=False).published
        == len("".join(map(LINE.format, range(4))).encode())
    )
    assert described["log_header_digest"]


def test_a_rotation_loses_nothing_and_two_are_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST", 20)
    file = LogFile(scene.log.path)
    scene.write(1, 2)
    scene.publish()
    scene.write(3)
    assert file.rotate()
    scene.write(4)
    report = scene.log.report(always=False)
    assert (report.lost, report.pending) == (False, 2 * len(LINE.format(1).encode()))
    scene.publish()
    assert scene.lines() == [1, 2, 3, 4]
    for number in (5, 6, 7):
        assert file.rotate()
        scene.write(number)
    assert scene.log.report(always=False).lost
    scene.publish()
    assert scene.lines() == [1, 2, 3, 4, 6, 7]  # 5 was overwritten
    assert not scene.log.report(always=False).lost


def test_a_file_that_begins_otherwise_is_published_from_its_beginning(scene: Scene) -> None:
    scene.write(1, 2)
    scene.publish()
    scene.log.path.write_text("".join(map(LINE.format, (7, 8, 9))))
    assert scene.log.report(always=False).lost
    scene.publish()
    assert scene.lines() == [1, 2, 7, 8, 9]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_an_answer_that_is_lost_doubles_nothing(scene: Scene, lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "CHUNK", 60)  # two lines
    scene.write(*range(10, 14))
    with pytest.raises(Unavailable):
        scene.publish(Lossy(scene.store(), lost))
    scene.write(14)
    scene.publish()
    assert scene.lines() == [10, 11, 12, 13, 14]


def test_a_publication_has_a_bound_and_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "CHUNK", 60)
    monkeypatch.setattr(publishing, "MOST", 120)
    scene.write(*range(10, 22))
    scene.publish()
    assert len(scene.lines()) < 12
    assert scene.log.report(always=False).pending > 0
    scene.publish(seconds=0)  # nothing is begun when the time is up
    before = scene.lines()
    scene.publish()
    assert scene.lines()[: len(before)] == before
    while scene.log.report(always=False).pending:
        scene.publish()
    assert scene.lines() == list(range(10, 22))


def test_a_line_without_an_end_and_bytes_that_are_no_text(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "CHUNK", 50)
    scene.log.path.write_bytes(b"x" * 120 + b"\xff\n")
    scene.publish()
    assert scene.published() == "x" * 120 + "\ufffd\n"


def test_a_ticket_writes_below_its_instance_alone_and_reads_nothing(scene: Scene) -> None:
    other = uuid4()
    scene.write(1)
    scene.publish()
    (name,) = scene.names()
    with pytest.raises(TicketRefused):
        scene.store().get(name.removeprefix(f"{scene.instance}/"))
    with pytest.raises(TicketRefused):
        scene.store().delete(name.removeprefix(f"{scene.instance}/"))
    foreign = dataclasses.replace(scene, instance=other)
    foreign.ask("PUT", f"/{foreign.folder}/log-1", content=b"theirs")
    content = SecretBox(KEYRING, scene.instance).open(scene.ticket.opens)
    signature = json.loads(content)["store"]["signatures"]["PUT"]
    expires = json.loads(content)["store"]["expires"]
    for prefix in (f"{scene.instance}/", f"{other}/"):
        query = {"temp_url_sig": signature, "temp_url_expires": expires, "temp_url_prefix": prefix}
        url = f"{scene.account.url}/database_logs/{foreign.folder}/log-1"
        assert httpx.put(url, params=query, content=b"ours").status_code == 401
    assert foreign.published() == "theirs"


def test_no_link_is_followed(scene: Scene, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("SELECT 42 FROM secrets\n" * 10)
    scene.write(1)
    scene.log.path.unlink()
    scene.log.path.symlink_to(secret)
    with pytest.raises(Unavailable):
        scene.publish()
    assert scene.names() == []
    with pytest.raises(OSError):
        LogFile(scene.log.path).make(0o666)
    assert secret.stat().st_mode & 0o777 != 0o666


def test_the_book_is_read_and_written_in_a_folder_of_our_own_alone(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes what is another user's")
    planted = tmp_path / "guest"
    planted.mkdir()
    (planted / "logs.json").write_text('{"logs": {"general": {"enabled": true}}}')
    os.chown(planted, 65534, 65534)
    book = LogBook(planted)
    assert book.enabled() == frozenset()
    with pytest.raises(EngineFailed):
        book.put("general", LogState(enabled=True))
    ours = LogBook(tmp_path / "ours")
    ours.enabled()
    (tmp_path / "ours/logs.json").symlink_to(planted / "logs.json")
    assert ours.enabled() == frozenset()
    ours.put("general", LogState(enabled=True))
    assert ours.enabled() == {"general"}


def test_a_key_that_is_there_is_used_and_one_that_is_not_is_made_once(account: Account) -> None:
    instance = uuid4()
    path = f"{account.url}/database_logs"
    headers = {"X-Auth-Token": account.token}
    with_containers(account, instance)
    key = httpx.head(path, headers=headers).headers["x-container-meta-temp-url-key"]
    with_containers(account, instance)
    assert httpx.head(path, headers=headers).headers["x-container-meta-temp-url-key"] == key
    httpx.post(path, headers={**headers, "X-Container-Meta-Temp-URL-Key": "theirs"}).raise_for_status()
    try:
        ticket = with_containers(account, instance)
        open_store(ticket, SecretBox(KEYRING, instance)).put("mariadb-general/log-1", b"x")
    finally:
        httpx.post(path, headers={**headers, "X-Container-Meta-Temp-URL-Key": key}).raise_for_status()


def test_what_was_published_is_emptied(scene: Scene) -> None:
    scene.write(1)
    scene.publish()

    async def empty() -> None:
        async with httpx.AsyncClient(timeout=30) as http:
            await containers(http).empty(scene.account, scene.folder)
            await containers(http).empty(scene.account, scene.folder)

    asyncio.run(empty())
    assert scene.names() == []
    assert scene.ask("GET", f"/{scene.folder}_metafile").status_code == 404
    scene.log.forget("call 1")
    scene.publish()
    scene.log.forget("call 1")  # it came again
    scene.publish()
    assert scene.lines() == [1]
