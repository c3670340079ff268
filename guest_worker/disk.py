"""`python -m guest_worker.disk`: the one privileged process of a guest. Mounts the data volume; starts the engine.

It listens on a socket of the machine, for root and the guest's user alone. `prepare` and `status` find, format, grow
and mount the volume; a device is formatted only when nothing at all is on it. `run`, `start` and `signal` are about the
engine's programs, as the engine's user (see `programs.py`).
"""

import fcntl
import json
import os
import pwd
import re
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from guest_worker.datastores import recipe_of
from guest_worker.host import CommandFailed, run
from guest_worker.paths import ENGINE, GUEST, GuestPaths
from guest_worker.programs import NotAllowed, Programs

VOLUME_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
NOTHING_FOUND = 2  # blkid's exit code
LONGEST = 65_536  # bytes of a question
ANSWER_SECONDS = 10.0  # for which a question waits for work at the volume, which goes on afterwards
FILES = 3  # descriptors that may come with it
UNMOUNT_LOOKS, UNMOUNT_PAUSE = 5, 0.2  # a second
IN_USE = "the file system cannot be grown while it is in use"


class DiskRefused(Exception):
    """What was asked is not done; the message says why."""


def is_name_of(name: str, volume_id: str) -> bool:
    """Whether a link in /dev/disk/by-id is that of a volume's disk, and not of a partition.

    Nova gives a disk the volume's id as its serial number, of which SCSI shows all, and others 20 characters. udev puts
    the bus and, for all but virtio, the model before it, and newer ones an NVMe's namespace behind it.
    """
    bus, _, serial = name.partition("-")
    if bus == "scsi":
        return serial.endswith(f"_{volume_id}")
    if bus == "virtio":
        return serial == volume_id[:20]
    return bus in ("ata", "nvme") and re.search(rf"_{re.escape(volume_id[:20])}(_[0-9]+)?$", serial) is not None


class NotDone(Exception):
    """What was asked for is being done, and takes longer than a question may; to be asked again."""


class Disk:
    """The data volume of this machine. What works at it has as long as it takes: a large one is checked for hours."""

    def __init__(self, paths: GuestPaths) -> None:
        self._paths = paths
        self.guest = pwd.getpwnam(GUEST)
        self.engine = pwd.getpwnam(ENGINE)

    def prepare(self, volume_id: str) -> dict[str, int]:
        """Mount the volume, formatted if it was blank and grown to its device; return the sizes of both."""
        if not VOLUME_ID.fullmatch(volume_id):
            raise DiskRefused("no such volume")
        with self._alone() as lock:
            device = self._device(volume_id)
            size = _size_of(device)  # before: what the device grows meanwhile is not what the file system has
            self._mount_and_grow(device, lock)
        os.chown(self._paths.data, 0, 0)
        self._paths.data.chmod(0o1777)  # guest and engine write there, and neither replaces what is the other's
        self._remember(volume_id)
        return {**self.status(), "device_bytes": size}

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Wait until nothing works at the volume, not even what a killed process of ours has begun; yield the lock."""
        with self._paths.disk_lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock.fileno()

    def _mount_and_grow(self, device: str, lock: int) -> None:
        if not self.is_mounted():
            self._format_if_blank(device, lock)
            self._mount(device)
        try:
            run(["resize2fs", device], seconds=None, keeps=(lock,))
        except CommandFailed as error:  # for instance a container without CAP_SYS_RESOURCE
            self._grow_unmounted(device, lock, error)

    def _mount(self, device: str) -> None:
        self._paths.data.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "ext4", "-o", "noatime,nodev,nosuid,noexec", device, str(self._paths.data)])

    def _grow_unmounted(self, device: str, lock: int, why: CommandFailed) -> None:
        """Grow it where the kernel grows none that is mounted; DiskRefused with IN_USE while somebody uses it."""
        if not self._unmounted():
            raise DiskRefused(f"{IN_USE}: {why.output}") from why
        try:
            self._check(device, lock, "-f")  # or resize2fs refuses it
            run(["resize2fs", device], seconds=None, keeps=(lock,))
        finally:
            self._mount(device)

    def _unmounted(self) -> bool:
        for _ in range(UNMOUNT_LOOKS):  # the guest itself looks into it now and then
            with suppress(CommandFailed):
                run(["umount", str(self._paths.data)])
                return True
            time.sleep(UNMOUNT_PAUSE)
        return False

    def status(self) -> dict[str, int]:
        """Bytes of the mounted volume; DiskRefused while it is not mounted."""
        if not self.is_mounted():
            raise DiskRefused("the volume is not mounted")
        found = os.statvfs(self._paths.data)
        return {"total_bytes": found.f_blocks * found.f_frsize,
                "used_bytes": (found.f_blocks - found.f_bfree) * found.f_frsize}  # fmt: skip

    def _device(self, volume_id: str) -> str:
        links = [each for each in self._paths.disks.glob("*") if is_name_of(each.name, volume_id)]
        found = {str(each.resolve()) for each in links if each.exists()}
        if not found:
            raise DiskRefused(f"volume {volume_id} is not attached")
        if len(found) > 1:
            raise DiskRefused(f"volume {volume_id} could be any of {', '.join(sorted(found))}")
        device = found.pop()
        if not stat.S_ISBLK(Path(device).stat().st_mode):
            raise DiskRefused(f"volume {volume_id} is no disk")
        return device

    def is_mounted(self) -> bool:
        """Whether the volume is where it should be."""
        wanted = str(self._paths.data)
        lines = Path("/proc/self/mounts").read_text().splitlines()
        return any(line.split()[1].replace("\\040", " ") == wanted for line in lines)

    def _format_if_blank(self, device: str, lock: int) -> None:
        try:
            kind = run(["blkid", "--probe", "--match-tag", "TYPE", "--output", "value", device]).strip()
        except CommandFailed as error:
            if error.code != NOTHING_FOUND:
                raise
            options = "lazy_itable_init=1,lazy_journal_init=1"
            run(["mkfs.ext4", "-q", "-m", "0", "-E", options, device], seconds=None, keeps=(lock,))
            return
        if kind != "ext4":
            raise DiskRefused(f"the volume carries {kind or 'something unknown'}; it is not touched")
        self._check(device, lock)

    def _check(self, device: str, lock: int, *how: str) -> None:
        try:
            run(["e2fsck", "-p", *how, device], seconds=None, keeps=(lock,))
        except CommandFailed as error:
            if error.code not in (0, 1):  # 1: errors were corrected
                raise

    def _remember(self, volume_id: str) -> None:
        self._paths.disk_memory.write_text(json.dumps({"volume_id": volume_id}))

    def remembered(self) -> str | None:
        """Which volume was mounted before the machine booted."""
        memory = self._paths.disk_memory
        return str(json.loads(memory.read_text())["volume_id"]) if memory.exists() else None

    def may_ask(self, uid: int) -> bool:
        """Whether this user is let in."""
        return uid in (0, self.guest.pw_uid)


def _size_of(device: str) -> int:
    handle = os.open(device, os.O_RDONLY)
    try:
        return os.lseek(handle, 0, os.SEEK_END)
    finally:
        os.close(handle)


class Preparing:
    """Prepares the volume beside whatever else is asked: begun once, joined by whoever asks again."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self._worker = ThreadPoolExecutor(1)
        self._volume_id = ""
        self._work: Future[dict[str, int]] | None = None

    def ask(self, volume_id: str) -> dict[str, int]:
        """Prepare it; how that ended is told once. NotDone while it goes on."""
        if self._work is not None and self._volume_id != volume_id:
            if not self._work.done():
                raise DiskRefused("another volume is being prepared")
            self._work = None
        self._work = self._work or self.begin(volume_id)
        work = self._work
        if not wait([work], ANSWER_SECONDS).done:
            raise NotDone("the data volume is being checked or grown")
        self._work = None
        return work.result()

    def begin(self, volume_id: str) -> "Future[dict[str, int]]":
        """Begin, and wait for nothing."""
        self._volume_id = volume_id
        self._work = self._worker.submit(self.disk.prepare, volume_id)
        self._work.add_done_callback(_say_failure)
        return self._work

    def require_volume(self) -> None:
        """NotDone while the volume is about to be mounted: nothing of the engine may run in the folder below it."""
        if self._work is not None and not self._work.done() and not self.disk.is_mounted():
            raise NotDone("the data volume is being checked")


def _say_failure(work: "Future[dict[str, int]]") -> None:
    error = work.exception()
    if error is not None:
        say(f"cannot prepare the volume: {error}")


def serve(disk: Disk, paths: GuestPaths, manager: str, prefix: str) -> None:
    """Answer one line of JSON with one line of JSON, one client at a time."""
    path = paths.disk_socket
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")  # the whole path may be longer than a socket's may be
        path.chmod(0o666)  # who asks is checked by the kernel's word on the peer
        listener.listen(8)
        preparing = Preparing(disk)
        volume_id = disk.remembered()
        if volume_id is not None:
            preparing.begin(volume_id)
        programs = Programs(disk.engine, recipe_of(manager).programs, paths.engine_sockets, prefix)
        while True:
            client, _ = listener.accept()
            with client:
                client.settimeout(10)
                _answer(preparing, programs, client)


def _answer(preparing: Preparing, programs: Programs, client: socket.socket) -> None:
    uid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    files: list[int] = []
    try:
        if not preparing.disk.may_ask(uid):
            raise DiskRefused("not for you")
        asked = _hear(client, files)
        answer: dict[str, Any] = {"done": _do(preparing, programs, asked, files)}
    except NotDone as error:
        answer = {"later": str(error)}
    except (DiskRefused, NotAllowed, CommandFailed, OSError, ValueError, KeyError, TypeError) as error:
        answer = {"error": str(error)}
    finally:
        for each in files:
            os.close(each)
    try:
        client.sendall(json.dumps(answer).encode() + b"\n")
    except OSError as error:
        say(f"a client went away: {error}")


def _hear(client: socket.socket, files: list[int]) -> dict[str, Any]:
    """One line of JSON, with its descriptors; all that came are in `files`, whatever happens."""
    text = b""
    while not text.endswith(b"\n"):
        part, received, _, _ = socket.recv_fds(client, LONGEST, FILES)
        files += received
        text += part
        if not part or len(text) > LONGEST or len(files) > FILES:
            raise DiskRefused("that is no question")
    asked: dict[str, Any] = json.loads(text)
    return asked


def _do(preparing: Preparing, programs: Programs, asked: dict[str, Any], files: list[int]) -> dict[str, int]:
    verb = asked["verb"]
    if verb == "prepare":
        return preparing.ask(str(asked["volume_id"]))
    if verb == "status":
        return preparing.disk.status()
    if verb == "signal":
        programs.signal(int(asked["pid"]), int(asked["number"]))
        return {}
    if verb == "ended":
        code = programs.ended(int(asked["pid"]))
        return {} if code is None else {"ended": code}
    if verb in ("run", "start"):
        preparing.require_volume()
        command = [str(each) for each in asked["command"]]
        return {verb: getattr(programs, verb)(command, files)}
    raise DiskRefused("there is no such verb")


def ask(paths: GuestPaths, question: Mapping[str, Any], files: Sequence[int] = ()) -> dict[str, int]:
    """Ask the privileged process; DiskRefused or NotDone with its words, OSError while it is not there."""
    folder = os.open(paths.disk_socket.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(58)
            client.connect(f"/proc/self/fd/{folder}/{paths.disk_socket.name}")
            text = json.dumps(question).encode() + b"\n"
            socket.send_fds(client, [text[:1]], files)
            client.sendall(text[1:])
            with client.makefile("r") as lines:
                answer = json.loads(lines.readline())
    finally:
        os.close(folder)
    if "later" in answer:
        raise NotDone(answer["later"])
    if "error" in answer:
        raise DiskRefused(answer["error"])
    done: dict[str, int] = answer["done"]
    return done


def say(text: str) -> None:
    """Log a line."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} disk: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    here = GuestPaths(Path(os.environ.get("ROOT", "/")))
    serve(Disk(here), here, os.environ["DATASTORE"], os.environ.get("ENGINE_PREFIX", ""))
