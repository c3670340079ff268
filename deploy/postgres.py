"""The records' private PostgreSQL: made once, in a folder of its own, never a service of the system."""

import os
import shutil
import subprocess
from pathlib import Path

from deploy.secrets import password
from deploy.settings import StackSettings

CONFIGURATION = """# written at every start
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 100
shared_buffers = 64MB
password_encryption = scram-sha-256
log_timezone = 'UTC'
timezone = 'UTC'
"""
ACCESS = "host all all 127.0.0.1/32 scram-sha-256\n"


def programs() -> Path:
    """The folder of the newest installed version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda each: int(each.parts[4]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("postgres")
    if elsewhere is None:
        raise FileNotFoundError("PostgreSQL's server is not installed")
    return Path(elsewhere).parent


def data(settings: StackSettings) -> Path:
    """The data directory; for root in the open place, for the server's user must reach it."""
    return settings.open_home / "records/data"


def command(settings: StackSettings) -> list[str]:
    """The server's command line."""
    command = [str(programs() / "postgres"), "-D", str(data(settings))]
    return command if settings.wait_for_disk else [*command, "-c", "fsync=off"]


def prepare(settings: StackSettings) -> bool:
    """Make the data directory if there is none; broken off, it is recreated. Writes the configuration each time."""
    folder, user = data(settings), settings.records_user
    made = not (folder / "PG_VERSION").exists() or not (folder.parent / "made").exists()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if user:
        shutil.chown(folder.parent, user, user)
    folder.parent.chmod(0o700)
    if made:
        _initialise(settings, folder)
        (folder.parent / "made").touch()
    (folder / "postgresql.conf").write_text(CONFIGURATION.format(port=settings.records_port))
    (folder / "pg_hba.conf").write_text(ACCESS)
    _remove_stale_pid(folder)
    return made


def _initialise(settings: StackSettings, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    secret = folder.parent / "password"
    secret.touch(mode=0o600)
    secret.write_text(password(settings, "records"))
    user = settings.records_user
    who = {"user": user, "group": user, "extra_groups": []} if user else {}
    if user:
        shutil.chown(secret, user, user)
    try:
        subprocess.run(
            [str(programs() / "initdb"), "-D", str(folder), "--username=coffer", f"--pwfile={secret}",
             "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"],
            check=True, cwd="/", stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}, **who,  # type: ignore[call-overload]
        )  # fmt: skip
    finally:
        secret.unlink()


def _remove_stale_pid(folder: Path) -> None:
    """After a power cut the pid in the file may be somebody else's now; PostgreSQL would refuse to start."""
    path = folder / "postmaster.pid"
    try:
        pid = int(path.read_text().split()[0])
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        words = []
    if str(folder).encode() not in words:
        path.unlink(missing_ok=True)


def make_database(settings: StackSettings) -> None:
    """Make the database `coffer`, once the server answers."""
    import psycopg

    os.environ["PGPASSFILE"] = str(settings.secrets / "pgpass")
    with psycopg.connect(host="127.0.0.1", port=settings.records_port, user="coffer", dbname="postgres", autocommit=True,
                         connect_timeout=5) as connection:  # fmt: skip
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'coffer'").fetchone() is None:
            connection.execute("CREATE DATABASE coffer")
