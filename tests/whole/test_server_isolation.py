"""What somebody reaches who has taken over a user of a database server: the guest, or the engine after `POST …/root`."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import order, wait_for
from tests.contracts.engines import DIALECTS, ENGINES
from tests.stack import RunningStack
from tests.whole.inside import Server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root, servers have no users and no namespaces")

HOMES = "/home"  # in the server
CANARY = "VICTIM-CARD-4111"
ROOT_PASSWORD = "Root-password-1"
USERS = ("guest", "engine")


@dataclass
class Tenant:
    """An instance whose tenant has enabled root."""

    engine: str
    address: str
    server: Server

    def sql(self, statement: str) -> str:
        """A statement as root; rows or the refusal, as text."""
        dialect = DIALECTS[self.engine]
        try:
            connection = dialect.connect(self.address, "root", ROOT_PASSWORD, "app")
        except dialect.refused as error:
            pytest.fail(f"root cannot log in: {error}")
        try:
            with connection:
                return str(dialect.ask(connection, statement))
        except Exception as error:
            return f"refused: {error}"

    def shell(self, command: str) -> str:
        """A command of the engine's OS user: PostgreSQL's superuser has it by SQL, for others we take it."""
        if self.engine == "postgresql":
            self.sql("CREATE TABLE IF NOT EXISTS said (line text); TRUNCATE said")
            quoted = f"({command}) 2>&1 | tr -d '\\000\\134'; true".replace("'", "''")
            self.sql(f"COPY said FROM PROGRAM '{quoted}'")
            return self.sql("SELECT * FROM said")
        done = self.server.run("engine", "/bin/sh", "-c", command)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def demo(stack: RunningStack) -> Iterator[httpx.Client]:
    """The tenant whose servers are taken over."""
    with stack.api("demo") as client:
        yield client


@pytest.fixture(scope="module")
def victim(stack: RunningStack) -> Iterator[Server]:
    """A database of another project, with a row that nobody else is to see."""
    with stack.api("admin") as admin:
        made = order(admin, "victim", "postgresql", databases=[{"name": "app"}],
                     users=[{"name": "amy", "password": "Amy-password-1", "databases": [{"name": "app"}]}])  # fmt: skip
        address = wait_for(admin, made, "ACTIVE")["ip"][0]
        with DIALECTS["postgresql"].connect(address, "amy", "Amy-password-1", "app") as connection:
            connection.execute("CREATE TABLE cards (number text)")
            connection.execute(f"INSERT INTO cards VALUES ('{CANARY}')")
        yield Server.of(stack, made)
        admin.delete(f"/instances/{made}")


@pytest.fixture(scope="module", params=ENGINES)
def tenant(request: pytest.FixtureRequest, stack: RunningStack, demo: httpx.Client) -> Iterator[Tenant]:
    """One of each engine, with root enabled."""
    made = order(demo, f"taken-{request.param}", request.param, databases=[{"name": "app"}])
    address = wait_for(demo, made, "ACTIVE")["ip"][0]
    answer = demo.post(f"/instances/{made}/root", json={"password": ROOT_PASSWORD})
    assert answer.status_code == 200, answer.text
    yield Tenant(request.param, address, Server.of(stack, made))
    demo.delete(f"/instances/{made}")


# -- the file system -------------------------------------------------------------------------------------------------

WALK = r"""
import json, os, stat, sys
wanted = {name: text[::-1] for name, text in json.loads(sys.argv[1]).items()}  # its own arguments are no find
seen, matches, written = [], [], []
def look(path, follow=True):
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    except OSError:
        return
    try:
        found = os.fstat(descriptor)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
            return
        seen.append([path, found.st_dev, found.st_ino, stat.S_ISBLK(found.st_mode)])
        if path.startswith(("/usr/", "/images/")):
            return
        before = b""
        for _ in range(256):
            part = os.read(descriptor, 1 << 18)
            if not part:
                break
            matches.extend([name, path] for name, text in wanted.items() if text.encode() in before + part)
            before = part[-200:]
    except OSError:
        pass
    finally:
        os.close(descriptor)
for folder, folders, files in os.walk("/"):
    if folder == "/proc":
        folders[:] = [each for each in folders if each.isdigit()]
    if folder.count("/") == 2 and folder.startswith("/proc/"):
        folders[:] = [each for each in folders if each in ("fd", "map_files", "cwd", "root", "ns")]
    for name in files + folders:
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            if os.access(path, os.W_OK):
                written.append(path)
        else:
            look(path)
mounts = [[line.split()[4], line.split()[5]] for line in open("/proc/self/mountinfo")]
disks = [each for each in os.listdir("/dev") if stat.S_ISBLK(os.lstat("/dev/" + each).st_mode)]
print(json.dumps({"seen": seen, "matches": matches, "written": written, "mounts": mounts, "disks": disks}))
"""


def of_the_stack(stack: RunningStack, victim: Server) -> dict[str, str]:
    """What no user of a server may find anywhere."""
    wanted = {"a victim's row": CANARY, **{f"the victim's {name}": text for name, text in victim.secrets().items()}}
    for path in stack.settings.secrets.rglob("*"):
        if path.is_file() and path.suffix != ".pem":
            words = [each for each in path.read_text().split() if len(each) >= 20]
            wanted |= {f"secret {path.name} {number}": each for number, each in enumerate(words) if "://" not in each}
    return wanted


@pytest.mark.parametrize("user", USERS)
def test_a_server_s_user_finds_its_own_root_and_images_and_nothing_else(
    stack: RunningStack, victim: Server, tenant: Tenant, user: str
) -> None:
    wanted = of_the_stack(stack, victim)
    assert len(wanted) > 8
    own = tenant.server.secrets()
    printed = tenant.server.python(
        user, WALK, json.dumps({name: text[::-1] for name, text in {**wanted, **own}.items()})
    )
    found = json.loads(printed.splitlines()[-1])
    assert {name for name, _ in found["matches"]} == (set(own) if user == "guest" else set())
    paths = {place for place, _ in found["mounts"]}
    assert paths - {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} == {
        "/", "/usr", "/etc/alternatives", "/etc/ssl/certs", "/images", "/dev", "/dev/shm", "/proc", "/var/lib/database",
    }  # fmt: skip
    shown = {place: options.split(",") for place, options in found["mounts"]}
    assert all("ro" in shown[place] for place in ("/usr", "/images", "/etc/alternatives", "/etc/ssl/certs"))
    assert all("nosuid" in options for options in shown.values())
    assert all("nodev" in options for place, options in shown.items() if place != "/dev")
    assert found["disks"] == ["vdb"]
    assert not [path for path, _, _, is_disk in found["seen"] if is_disk]
    mine = {"guest": {"/var/lib/guest", "/var/lib/engine"}, "engine": {"/run/engine"}}[user]
    elsewhere = [
        each for each in found["written"] if not each.startswith(("/proc/", "/var/lib/database", "/home", "/tmp"))
    ]
    assert set(elsewhere) - {"/dev/shm"} == mine
    assert_own(tenant.server, found["seen"])


def assert_own(server: Server, seen: list[list[Any]]) -> None:
    """Each file that was opened lies below the server's own root, or is a part of the host that is shown to all."""
    below = {(found.st_dev, found.st_ino) for found in (each.lstat() for each in server.root.rglob("*"))}
    foreign = []
    for path, device, inode, _ in seen:
        if path.startswith(
            ("/usr/", "/images/", "/proc/", "/dev/", "/var/lib/database/", "/etc/alternatives/", "/etc/ssl/certs/")
        ):
            continue
        if (device, inode) not in below and not path.startswith(("/bin/", "/sbin/", "/lib")):
            foreign.append(path)
    assert foreign == []


ATTEMPTS = {
    "another device": "ln -s /tmp/image /dev/disk/by-id/virtio-evil",
    "another /dev": "mv /dev /dev2",
    "another /var": "mv /var /var2",
    "another /etc": "mv /etc /etc2",
    "another /home": "mv /home /home2",
    "another state": "mv /var/lib/guest /var/lib/guest2",
    "another volume": "rmdir /var/lib/database; cd /home; ln -s /usr/local/sbin sbin; mv -T sbin /var/lib/database",
    "another mount point": "mv /var/lib/database /var/lib/database2",
    "a new socket": "rm -f /run/disk.sock && touch /run/disk.sock",
    "users": "echo evil::0:0::/:/bin/sh >> /etc/passwd",
    "boot file's folder": "mv /etc/coffer /etc/coffer2",
    "what is mounted at boot": "echo '{}' > /etc/coffer/disk.json",
    "a disk of its own": "mknod /tmp/disk b 7 0",
    "the disk": "dd if=/dev/vdb of=/dev/null count=1",
    "a mount": "mount -t tmpfs none /home",
    "a bind": "mount --bind /home /etc",
    "programs": "touch /usr/local/sbin/blkid",
    "images": "touch /images/evil",
    "pid 1": "kill -9 1",
    "pid 1's files": "ls /proc/1/root/ /proc/1/cwd/ && false",
    "pid 1's descriptors": "ls /proc/1/fd",
    "a setuid program": "su -c id",
}


@pytest.mark.parametrize("user", USERS)
def test_nothing_that_root_trusts_can_be_replaced(tenant: Tenant, user: str) -> None:
    failed = {name: tenant.server.run(user, "/bin/sh", "-c", command).returncode for name, command in ATTEMPTS.items()}
    assert [name for name, code in failed.items() if code == 0] == []
    assert Path(f"/proc/{tenant.server.worker}").exists()


QUESTIONS: tuple[dict[str, Any], ...] = (
    {"verb": "prepare", "volume_id": "evil"},
    {"verb": "prepare", "volume_id": "../../../tmp/image"},
    {"verb": "prepare", "volume_id": "evil\n"},
    {"verb": "run", "command": ["/bin/sh", "-c", "id"]},
    {"verb": "run", "command": [f"{HOMES}/mariadbd"]},
    {"verb": "run", "command": ["/tmp/rm"]},
    {"verb": "run", "command": ["/usr/bin/../../tmp/rm"]},
    {"verb": "run", "command": ["rm", "-rf", "/etc"]},
    {"verb": "run", "command": []},
    {"verb": "run", "command": "id"},
    {"verb": "start", "command": ["/usr/bin/python3"]},
    {"verb": "signal", "pid": 1, "number": 9},
    {"verb": "signal", "pid": -1, "number": 9},
    {"verb": "signal", "pid": 0, "number": 9},
    {"verb": "exec", "command": ["/usr/bin/rm"]},
    {},
)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_the_privileged_process_does_nothing_else(tenant: Tenant, question: dict[str, Any]) -> None:
    tenant.server.run(
        "guest", "/bin/sh", "-c", f"cp /bin/id /tmp/rm; cp /bin/id {HOMES}/mariadbd; chmod 755 /tmp/rm {HOMES}/*"
    )
    assert '"error"' in tenant.server.ask_disk("guest", question)


def test_the_privileged_process_runs_programs_as_the_engine_alone(tenant: Tenant) -> None:
    server = tenant.server
    assert '"done"' in server.ask_disk("guest", {"verb": "run", "command": ["/usr/bin/mkdir", "/tmp/made"]})
    assert (server.root / "tmp/made").stat().st_uid == server.uid("engine")
    for target in ("/etc/passwd", "/var/lib/guest/identity.json", "/etc/coffer/guest.json", "/run/disk.sock"):
        said = server.ask_disk("guest", {"verb": "run", "command": ["/usr/bin/rm", "--", target]})
        assert "Permission denied" in said or "cannot remove" in said
    worker = server.worker_inside()
    assert '"error"' in server.ask_disk("guest", {"verb": "signal", "pid": worker, "number": 9})
    assert '"done"' not in server.ask_disk("engine", {"verb": "status"})


# -- a tenant with root ----------------------------------------------------------------------------------------------

FILES = ("/var/lib/guest/identity.json", "/var/lib/guest/os_admin", "/etc/coffer/guest.json", "/var/lib/guest/calls.json",
         "/proc/{worker}/environ", "/proc/{worker}/mem", "/proc/1/environ", "/proc/{worker}/root/var/lib/guest/os_admin",
         "/proc/{worker}/cwd/var/lib/guest/identity.json")  # fmt: skip
READS = {
    "mysql": (
        "LOAD DATA INFILE '{path}' INTO TABLE t",
        "LOAD DATA INFILE '../../../..{path}' INTO TABLE t",
        "LOAD DATA LOCAL INFILE '{path}' INTO TABLE t",
        "LOAD DATA URL '{path}' INTO TABLE t",
        "LOAD XML INFILE '{path}' INTO TABLE t",
        "SELECT LOAD_FILE('{path}')",
        "INSERT INTO t SELECT LOAD_FILE('{path}')",
        "IMPORT TABLE FROM '{path}'",
        "CREATE TABLESPACE s ADD DATAFILE '{path}'",
    ),
    "mariadb": (
        "LOAD DATA INFILE '{path}' INTO TABLE t",
        "LOAD DATA INFILE '../../../..{path}' INTO TABLE t",
        "LOAD DATA LOCAL INFILE '{path}' INTO TABLE t",
        "LOAD XML INFILE '{path}' INTO TABLE t",
        "SELECT LOAD_FILE('{path}')",
        "INSERT INTO t SELECT LOAD_FILE('{path}')",
    ),
    "postgresql": (
        "SELECT pg_read_file('{path}')",
        "SELECT encode(pg_read_binary_file('{path}'), 'escape')",
        "COPY t FROM '{path}'",
        "COPY t FROM PROGRAM 'cat {path}'",
        "SELECT convert_from(lo_get(lo_import('{path}')), 'UTF8')",
        "SELECT pg_ls_dir(regexp_replace('{path}', '/[^/]*$', ''))",
    ),
}
WRITES = {
    "mysql": (
        "SELECT 'x' INTO OUTFILE '{path}'",
        "SELECT 'x' INTO DUMPFILE '{path}'",
        "SET GLOBAL general_log_file = '{path}', GLOBAL general_log = 1",
        "SET GLOBAL slow_query_log_file = '{path}', GLOBAL slow_query_log = 1",
        "CREATE TABLE elsewhere (n int) DATA DIRECTORY = '{folder}'",
        "CREATE TABLESPACE planted ADD DATAFILE '{path}.ibd'",
        "CREATE UNDO TABLESPACE undone ADD DATAFILE '{path}.ibu'",
        "SET GLOBAL secure_file_priv = '/'",
        "SET PERSIST_ONLY secure_file_priv = '/'",
        "SET PERSIST_ONLY innodb_directories = '{folder}'",
        "INSTALL PLUGIN clone SONAME 'mysql_clone.so'",
        "CLONE LOCAL DATA DIRECTORY = '{path}'",
        "INSTALL COMPONENT 'file://../../../../..{path}'",
        "CREATE FUNCTION f RETURNS INTEGER SONAME '../../../../..{path}'",
    ),
    "mariadb": (
        "SELECT 'x' INTO OUTFILE '{path}'",
        "SELECT 'x' INTO DUMPFILE '{path}'",
        "SET GLOBAL general_log_file = '{path}', GLOBAL general_log = 1",
        "SET GLOBAL slow_query_log_file = '{path}', GLOBAL slow_query_log = 1",
        "CREATE TABLE elsewhere (n int) DATA DIRECTORY = '{folder}'",
        "SET GLOBAL secure_file_priv = '/'",
        "SET GLOBAL plugin_dir = '{folder}'",
        "INSTALL SONAME '../../../../..{path}'",
        "CREATE FUNCTION f RETURNS INTEGER SONAME '../../../../..{path}'",
    ),
    "postgresql": (
        "COPY (SELECT 'x') TO '{path}'",
        "COPY (SELECT 'x') TO PROGRAM 'cat > {path}'",
        "SELECT lo_export(lo_from_bytea(0, 'x'), '{path}')",
        "CREATE FUNCTION f() RETURNS int AS '{path}', 'f' LANGUAGE C",
        "CREATE FUNCTION s(cstring) RETURNS int AS 'libc.so.6', 'system' LANGUAGE C",
        "ALTER SYSTEM SET data_directory = '{folder}'",
    ),
}


def test_root_reads_nothing_of_the_guest_s(tenant: Tenant) -> None:
    secrets, worker = tenant.server.secrets(), tenant.server.worker_inside()
    tenant.sql("CREATE TABLE IF NOT EXISTS t (line text)")
    for path in (each.format(worker=worker) for each in FILES):
        for way in READS[tenant.engine]:
            said = tenant.sql(way.format(path=path)) + tenant.sql("SELECT * FROM t")
            assert [name for name, text in secrets.items() if text in said] == [], way
            assert "identity.json" not in said.replace(path, ""), way


def test_root_writes_nothing_beyond_the_database(tenant: Tenant) -> None:
    before = sorted(str(each) for each in tenant.server.root.rglob("*") if "tmp/" not in str(each))
    for folder in ("/var/lib/guest", "/etc/coffer", "/var/lib/engine", "/home", "/run", "/images", "/usr/lib"):
        for way in WRITES[tenant.engine]:
            tenant.sql(way.format(path=f"{folder}/planted", folder=folder))
    assert sorted(str(each) for each in tenant.server.root.rglob("*") if "tmp/" not in str(each)) == before
    for name in ("general_log", "slow_query_log"):
        if tenant.engine != "postgresql":
            tenant.sql(f"SET GLOBAL {name} = 0")


COMMANDS = (
    "find / -xdev -type f -readable -not -path '/usr/*' -not -path '/images/*' -not -path '/proc/*' -exec cat '{{}}' +",
    "cat /proc/*/environ /proc/*/cmdline",
    "cat /proc/{worker}/maps /proc/{worker}/fd/* /proc/{worker}/fdinfo/*",
    "kill -9 {worker}",
    "kill -9 1",
    "gdb -p {worker} --batch",
    "python3 -c 'import ctypes; print(ctypes.CDLL(None).ptrace(16, {worker}, 0, 0))'",
    "head -c 100 /proc/{worker}/mem",
    "ls -laR /var/lib/guest /etc/coffer",
    "cp /bin/sh /var/lib/guest/sh; cd /var/lib/engine; touch postgresql.conf; ln -sf /var/lib/guest/os_admin general.log",
)


def test_the_engine_s_os_user_reaches_nothing_of_the_guest_worker(tenant: Tenant) -> None:
    server, secrets = tenant.server, tenant.server.secrets()
    config = {each: each.read_bytes() for each in (server.root / "var/lib/engine").iterdir()}
    assert f"uid={server.uid('engine')}" in tenant.shell("id")
    for command in COMMANDS:
        said = tenant.shell(command.format(worker=server.worker_inside()))
        assert [name for name, text in secrets.items() if text in said] == [], command
        assert "identity.json" not in said
    moved = "mv -T /var/lib/database/reserve /var/lib/database/r; ln -sT /var/lib/guest /var/lib/database/reserve"
    assert "Operation not permitted" in server.run("engine", "/bin/sh", "-c", moved).stderr
    assert "error" in tenant.server.ask_disk("engine", {"verb": "status"})
    assert Path(f"/proc/{server.worker}").exists()
    assert not (server.root / "var/lib/guest/sh").exists()
    assert {each: each.read_bytes() for each in (server.root / "var/lib/engine").iterdir()} == config


def test_the_engine_runs_as_its_own_user_and_the_guest_worker_as_its_own(tenant: Tenant) -> None:
    server = tenant.server
    program = {"mariadb": "mariadbd", "mysql": "mysqld", "postgresql": "postgres"}[tenant.engine]
    listed = [line.split() for line in server.run("guest", "/bin/ps", "-eo", "uid=,args=").stdout.splitlines()]
    owners = {uid for uid, *words in listed if program in {Path(each).name for each in words}}
    assert owners == {str(server.uid("engine"))}
    assert Path(f"/proc/{server.worker}").stat().st_uid == server.uid("guest")
    assert server.uid("engine") != server.uid("guest")


def test_the_tenant_s_database_still_serves(tenant: Tenant) -> None:
    """After all of the above: the attacks are not answered with a broken instance."""
    assert "1" in tenant.sql("SELECT 1")
