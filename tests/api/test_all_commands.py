"""Every command of python-troveclient, typed in one run against one instance, answers what docs/clients.md says of it."""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.api.conftest import PATIENCE, openstack_command, order, wait_for, wait_until_gone
from tests.api.test_ssl import AUTHORITY, Vault
from tests.driver_process import REPOSITORY
from tests.stack import RunningStack

PAGE = REPOSITORY / "docs/clients.md"
ROW = re.compile(r"^\| `((?:database|datastore) [^`]+)` \| (works|refused: `.+`|client: `.+`) \|$", re.MULTILINE)
COMMANDS = "openstack.database.v1"  # the client's group of entry points
WORKS = "works"
OWN = "every"  # the datastore, and how the names of what belongs to this test begin


class Typed(NamedTuple):
    """A command, what is typed after it, and what it shows where it works; a row of the page may say a form of it."""

    command: str
    more: str = ""
    shows: str = ""
    cloud: str = "demo"
    form: str = ""


# Words in capitals are looked up when they are typed: see `Facts`. Before each command of ON the instance is at rest. BESIDE
# is typed by another client meanwhile.
BEFORE = (
    Typed("datastore version create", f"one {OWN} mariadb IMAGE --active --default --version-number 10.11", cloud="admin"),
    Typed("datastore version create", f"two {OWN} mariadb IMAGE --active --version-number 10.11", cloud="admin"),
    Typed("datastore version create", f"bad {OWN} mariadb mariadb-10.11", cloud="admin", form="… IMAGE-NAME"),
    Typed("datastore version set", "SECOND --version-name second", cloud="admin"),
    Typed("datastore list", shows=OWN),
    Typed("datastore show", OWN, shows="one"),
    Typed("datastore version list", OWN, shows="second"),
    Typed("datastore version show", f"one --datastore {OWN}", shows="FIRST"),
    Typed("database configuration create", f'{OWN} {{"max_connections":80}} --datastore {OWN} --datastore-version one'),
    Typed("database instance create", f"{OWN}-command --flavor m1.tiny --size 1 --datastore {OWN} --datastore-version one"
          " --databases app --users amy:secret", shows="BUILD"),
)  # fmt: skip
WHILE_IT_IS_BUILT = (
    Typed("database configuration list", shows=OWN),
    Typed("database configuration parameter list", f"one --datastore {OWN}", shows="max_connections"),
    Typed("database configuration parameter show", "FIRST max_connections", shows="max_connections"),
    Typed("database configuration parameter set", 'GROUP {"max_connections":90}'),
    Typed("database configuration show", OWN, shows="90"),
    Typed("database configuration set", f'GROUP {{"max_connections":70}} --name {OWN}-group'),
    Typed("database configuration show", f"{OWN}-group", shows="70"),
    Typed("database instance list", shows=f"{OWN}-command"),
)
BESIDE = (
    Typed("database flavor list", shows="m1.tiny"),
    Typed("database flavor show", "m1.tiny", shows="m1.tiny"),
    Typed("database limit list", shows="max_instances"),
    Typed("database quota show", "demo", shows="volumes", cloud="admin"),
    Typed("database quota update", "demo backups BACKUPS", shows="BACKUPS", cloud="admin"),
    Typed("database cluster list"),
    Typed("database cluster create", f"{OWN} {OWN} one --instance flavor=1,volume=1"),
    Typed("database cluster show", "NOBODY"),
    Typed("database cluster list instances", "NOBODY"),
    Typed("database cluster modules", "NOBODY"),
    Typed("database cluster upgrade", "NOBODY one"),
    Typed("database cluster grow", "NOBODY --instance flavor=1,volume=1"),
    Typed("database cluster shrink", "NOBODY ID"),
    Typed("database cluster reset status", "NOBODY", cloud="admin"),
    Typed("database cluster delete", "NOBODY"),
    Typed("database cluster force delete", "NOBODY", cloud="admin"),
    Typed("database backup list"),
    Typed("database backup execution delete", "NOBODY"),
    Typed("database backup strategy create", f"--instance-id ID --swift-container {OWN}-container", shows=f"{OWN}-container"),
    Typed("database backup strategy list", shows=f"{OWN}-container"),
    Typed("database backup strategy delete", "--instance-id ID"),
)  # fmt: skip
ON = (
    Typed("database instance show", "NAME", shows="HEALTHY"),
    Typed("database backup create", f"{OWN} --instance NAME --swift-container {OWN}-container", shows="NEW"),
    Typed("database backup list instance", "NAME", shows="COMPLETED"),
    Typed("database backup show", "BACKUP", shows=f"{OWN}-container"),
    Typed("database backup delete", "BACKUP"),
    Typed("database configuration attach", f"NAME {OWN}-group"),
    Typed("database configuration instances", f"{OWN}-group", shows="NAME"),
    Typed("database configuration default", "NAME", shows="max_connections"),
    Typed("database configuration detach", "NAME"),
    Typed("database db create", "NAME web"),
    Typed("database db list", "NAME", shows="web"),
    Typed("database user create", "NAME bob secret --databases app"),
    Typed("database user list", "NAME", shows="bob"),
    Typed("database user grant access", "NAME bob web"),
    Typed("database user show access", "NAME bob", shows="web"),
    Typed("database user revoke access", "NAME bob app"),
    Typed("database user update attributes", "NAME bob --new_name bill"),
    Typed("database user show", "NAME bill", shows="web"),
    Typed("database user delete", "NAME bill"),
    Typed("database db delete", "NAME web"),
    Typed("database root enable", "NAME", shows="password"),
    Typed("database root show", "NAME", shows="True"),
    Typed("database root disable", "NAME"),
    Typed("database log list", "NAME", shows="general"),
    Typed("database log set", "NAME general --enable", shows="general"),
    # the engine may log meanwhile: Partial
    Typed("database log set", "NAME general --publish", shows="mariadb-general/"),
    Typed("database log show", "NAME general", shows="mariadb-general/"),
    Typed("database log tail", "NAME general", shows="Tcp port"),
    Typed("database log save", "NAME general --file FILE", shows="written to"),
    Typed("database log tail", "NAME no-such-log", form="… NO-SUCH-LOG"),
    Typed("database ssl enable", "NAME CONTAINER", shows="basic"),
    Typed("database ssl show", "NAME", shows="basic"),
    Typed("database ssl rollback", "NAME", shows="builtin"),
    Typed("database ssl disable", "NAME", shows="builtin"),
    Typed("database instance update", "NAME --allowed-cidr 127.0.0.0/8"),
    Typed("database instance resize volume", "NAME 2"),
    Typed("database instance resize flavor", "NAME m1.small"),
    Typed("database instance restart", "NAME"),
    Typed("database instance reboot", "ID", cloud="admin"),
    Typed("database instance reboot", f"{OWN}-forced", cloud="admin", form="NAME"),
    Typed("database instance rebuild", "ID IMAGE", cloud="admin"),
    Typed("database instance rebuild", f"{OWN}-forced IMAGE", cloud="admin", form="NAME IMAGE"),
    Typed("database instance upgrade", "NAME second"),
    Typed("database instance show", "NAME", shows="second"),
    Typed("database instance promote", "NAME"),
    Typed("database instance eject", "NAME"),
    Typed("database instance detach", "NAME"),
)
AFTER = (
    Typed("database instance reset status", "ID", cloud="admin"),
    Typed("database instance delete", "NAME"),
    Typed("database instance force delete", "FORCED", cloud="admin"),
)
WHEN_ALL_IS_GONE = (
    Typed("database configuration delete", f"{OWN}-group"),
    Typed("datastore version delete", "FIRST", cloud="admin"),
    Typed("datastore version delete", "SECOND", cloud="admin"),
    Typed("datastore delete", OWN, cloud="admin"),
)


class Facts:
    """What a word in capitals stands for, as the API says it now."""

    def __init__(self, stack: RunningStack, demo: httpx.Client, admin: httpx.Client, folder: Path) -> None:
        self.demo, self.admin, self._stack = demo, admin, stack
        self.forced = order(admin, f"{OWN}-forced", "mariadb")
        self._known = {
            "NAME": f"{OWN}-command",
            "NOBODY": "00000000-0000-4000-8000-000000000000",
            "FORCED": self.forced,
            "FILE": str(folder / "saved.log"),
            "IMAGE": next(each.id for each in stack.cloud("admin").image.images() if each.name == "mariadb-10.11"),
        }

    def say(self, words: str) -> list[str]:
        """The words, looked up."""
        return [self.of(word) for word in words.split()]

    def of(self, word: str) -> str:
        """A word, looked up."""
        find: Callable[[], str] | None = getattr(self, f"_{word.lower()}", None) if word.isupper() else None
        return find() if find else self._known.get(word, word)

    def _id(self) -> str:
        return self._named(self.demo, "/instances", "instances", f"{OWN}-command")

    def _container(self) -> str:
        """A PKCS#12 in Barbican."""
        url = f"http://127.0.0.1:{self._stack.settings.localcloud_port}/key-manager"
        address = self.demo.get(f"/instances/{self._id()}").json()["instance"]["ip"][0]
        with httpx.Client(base_url=url, headers={"X-Auth-Token": self.demo.headers["X-Auth-Token"]}) as http:
            return Vault(http).keep(AUTHORITY.pkcs12(address, None))

    def _group(self) -> str:
        return self._named(self.demo, "/configurations", "configurations", OWN)

    def _first(self) -> str:
        return self._version("one")

    def _second(self) -> str:
        return self._version("two", "second")

    def _backup(self) -> str:
        return self._named(self.demo, "/backups", "backups", OWN)

    def _backups(self) -> str:
        """The ceiling that there is."""
        project = self.demo.base_url.path.strip("/").rpartition("/")[2]
        quotas = self.admin.get(f"/mgmt/quotas/{project}").json()["quotas"]
        return str(next(each["limit"] for each in quotas if each["resource"] == "backups"))

    def _version(self, *names: str) -> str:
        versions = self.admin.get("/mgmt/datastore-versions").json()["versions"]
        return str(next(each["id"] for each in versions if each["datastore_name"] == OWN and each["name"] in names))

    def _named(self, client: httpx.Client, path: str, key: str, name: str) -> str:
        return str(next(each["id"] for each in client.get(path).json()[key] if each["name"].startswith(name)))


class Run:
    """Types commands, and compares what becomes of each with the page."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.page = dict(ROW.findall(PAGE.read_text()))
        self.rows: set[str] = set()
        self.differ: dict[str, str] = {}

    def type_all(self, openstack: Callable[..., Any], script: Sequence[Typed]) -> None:
        """One command after the other."""
        for typed in script:
            self._type(openstack, typed)

    def _type(self, openstack: Callable[..., Any], typed: Typed) -> None:
        row = f"{typed.command} {typed.form}".strip()
        self.rows.add(row)
        words = [*typed.command.split(), *self._facts.say(typed.more)]
        code, output, errors = openstack(*words, cloud=typed.cloud, fails=None)
        kind, _, sentence = self.page.get(row, "").partition(": ")
        if kind == WORKS:
            as_said = code == 0 and self._facts.of(typed.shows) in output
        else:
            as_said = bool(sentence) and sentence.strip("`") in output + errors
        if not as_said:
            self.differ[row] = f"{code}: {output}{errors}"


def at_rest(demo: httpx.Client, instance_id: str) -> None:
    """Wait until no operation runs; the last one is done, and the instance serves."""
    deadline = time.monotonic() + PATIENCE
    while (last := demo.get(f"/instances/{instance_id}/operations").json()["operations"][0])["state"] == "RUNNING":
        assert time.monotonic() < deadline, last
        time.sleep(0.05)
    assert last["state"] == "DONE", last
    wait_for(demo, instance_id, "ACTIVE")


def test_each_command_does_what_the_page_says(
    stack: RunningStack, demo: httpx.Client, admin: httpx.Client, openstack: Callable[..., Any], tmp_path: Path
) -> None:
    facts = Facts(stack, demo, admin, tmp_path)
    run = Run(facts)
    run.type_all(openstack, BEFORE)
    with openstack_command(stack) as another, ThreadPoolExecutor() as pool:
        beside = pool.submit(run.type_all, another, BESIDE)
        run.type_all(openstack, WHILE_IT_IS_BUILT)
        live_through(openstack, run, facts)
        beside.result()
    run.type_all(openstack, WHEN_ALL_IS_GONE)
    assert not run.differ, "\n".join(f"{row}: {said}" for row, said in sorted(run.differ.items()))
    assert run.rows == set(run.page)


def live_through(openstack: Callable[..., Any], run: Run, facts: Facts) -> None:
    """What is about the instance, until it is gone."""
    demo, admin = facts.demo, facts.admin
    instance_id = facts.of("ID")
    wait_for(admin, facts.forced, "ACTIVE")
    for typed in ON:
        at_rest(demo, instance_id)
        run.type_all(openstack, (typed,))
    at_rest(demo, instance_id)
    run.type_all(openstack, AFTER)
    wait_until_gone(demo, instance_id)
    wait_until_gone(admin, facts.forced)


def test_each_command_of_the_client_is_typed() -> None:
    """A new release's new command fails here until it has a row."""
    known = {each.name.replace("_", " ") for each in entry_points(group=COMMANDS)}
    assert len(known) > 80
    typed = {each.command for each in (*BEFORE, *WHILE_IT_IS_BUILT, *BESIDE, *ON, *AFTER, *WHEN_ALL_IS_GONE)}
    assert typed == known


def test_the_page_names_the_releases_that_are_tested() -> None:
    page = PAGE.read_text()
    for client in ("python-troveclient", "python-openstackclient", "openstacksdk"):
        assert f"{client} {version(client)}" in page
    go = (REPOSITORY / "tests/clients/gophercloud/go.mod").read_text()
    (release,) = re.findall(r"gophercloud/v2 v(\S+)", go)
    assert f"gophercloud {release}" in page
    terraform = (REPOSITORY / "tests/clients/terraform/go.mod").read_text()
    (release,) = re.findall(r"^\tgithub.com/terraform-provider-openstack/\S+ v(\S+)$", terraform, re.MULTILINE)
    assert f"Terraform's provider for OpenStack {release}" in page
