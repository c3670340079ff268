"""What runs inside a server's network in tests: answers on ports, and tries to reach others. Standard library alone.

Reads one JSON command a line, writes one JSON answer a line. The name of a method is the command.
"""

import json
import socket
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PATIENCE = 0.4  # what is dropped is not answered; what is let through takes a millisecond
open_connections: list[socket.socket] = []


def listen(ports: list[int]) -> str:
    """Echo on TCP and UDP ports of all addresses."""
    for port in ports:
        tcp = socket.create_server(("", port), backlog=64)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("", port))
        threading.Thread(target=_accept, args=(tcp,), daemon=True).start()
        threading.Thread(target=_echo_datagrams, args=(udp,), daemon=True).start()
    return "ok"


def _accept(server: socket.socket) -> None:
    while True:
        connection, peer = server.accept()
        connection.sendall(f"{peer[0]}\n".encode())
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    try:
        while data := connection.recv(100):
            connection.sendall(data)
    except OSError:
        return


def _echo_datagrams(server: socket.socket) -> None:
    while True:
        _, peer = server.recvfrom(100)
        server.sendto(peer[0].encode(), peer)


def tcp(address: str, port: int, patience: float = PATIENCE) -> str:
    """What a connection is greeted with; an error's name otherwise."""
    try:
        with socket.create_connection((address, port), timeout=patience) as connection:
            return connection.recv(100).decode(errors="replace").strip() or "closed"
    except OSError as error:
        return type(error).__name__


def reached(pairs: list[tuple[str, int]], patience: float = 1.0) -> list[tuple[str, int]]:
    """Which of the addresses and ports take a connection."""

    def attempt(pair: tuple[str, int]) -> bool:
        family = socket.AF_INET6 if ":" in pair[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(patience)
            try:
                probe.connect((pair[0], pair[1]))
            except OSError as error:
                return isinstance(error, ConnectionRefusedError)  # somebody answered, if only to refuse
            return True

    with ThreadPoolExecutor(256) as pool:
        return [pair for pair, found in zip(pairs, pool.map(attempt, pairs), strict=True) if found]


def udp(address: str, port: int, patience: float = PATIENCE) -> str:
    """What a datagram is answered with."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(patience)
        try:
            probe.sendto(b"?", (address, port))
            return probe.recv(100).decode()
        except OSError as error:
            return type(error).__name__


def ping(address: str, patience: float = PATIENCE) -> str:
    """Whether an echo request is answered; as root alone."""
    message = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
    total = sum(struct.unpack("!4H", message))
    total = (total & 0xFFFF) + (total >> 16)
    message = struct.pack("!BBHHH", 8, 0, ~total & 0xFFFF, 7, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as probe:
        probe.settimeout(patience)
        try:
            probe.sendto(message, (address, 0))
            while True:
                got, peer = probe.recvfrom(200)
                if peer[0] == address and got[20] == 0:
                    return "answered"
        except OSError as error:
            return type(error).__name__


def answers(address: str, attempts: list[tuple[str, int]], patience: float = 0.25) -> list[tuple[str, int]]:
    """Which of the attempts (`tcp`, `udp`, `ping`, and a port) are answered; all are made at once."""

    def attempt(pair: tuple[str, int]) -> bool:
        kind, port = pair
        said = ping(address, patience) if kind == "ping" else (tcp if kind == "tcp" else udp)(address, port, patience)
        return not said.endswith("Error")

    with ThreadPoolExecutor(len(attempts)) as pool:
        return [pair for pair, found in zip(attempts, pool.map(attempt, attempts), strict=True) if found]


def hold(address: str, port: int) -> str:
    """Open a connection that stays; return its greeting."""
    connection = socket.create_connection((address, port), timeout=PATIENCE)
    open_connections.append(connection)
    return connection.recv(100).decode().strip()


def still(patience: float = PATIENCE) -> str:
    """Whether the connection that was opened last still carries data."""
    connection = open_connections[-1]
    connection.settimeout(patience)
    try:
        connection.sendall(b"!")
        return connection.recv(100).decode()
    except OSError as error:
        return type(error).__name__


def send_frame(interface: str, frame: str) -> str:
    """Put a raw frame (hexadecimal) on the wire; as root alone."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        wire.send(bytes.fromhex(frame))
    return "sent"


frames: list[bytes] = []


def sniff(interface: str) -> str:
    """Begin to note each frame that an interface gets; as root alone."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind((interface, 0))

    def note() -> None:
        while True:
            frame, where = wire.recvfrom(2000)
            if where[2] != 4:  # PACKET_OUTGOING: what the interface sends itself
                frames.append(frame)

    threading.Thread(target=note, daemon=True).start()
    return "ok"


def sniffed(word: str) -> list[str]:
    """The frames that were noted and have a word in their hexadecimal form."""
    return [each.hex() for each in frames if word in each.hex()]


def main() -> None:
    does = (listen, tcp, reached, udp, ping, answers, hold, still, send_frame, sniff, sniffed)
    commands: dict[str, Any] = {each.__name__: each for each in does}
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = commands[name](*arguments)
        except OSError as error:
            answer = type(error).__name__
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
