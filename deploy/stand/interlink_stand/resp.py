"""Asking a Redis server, with as much of RESP2 as that needs.

`tls` names the authorities, and the user with the file of its password where one is needed.
"""

import pathlib
import socket
import ssl

from . import limits
from .waiting import NotYet


class Redis:
    """One connection; an answer that is an error raises `NotYet`."""

    def __init__(self, address: str, tls: dict | None = None):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=limits.ANSWER_S)
        if tls is not None:
            try:
                context = ssl.create_default_context(cafile=tls["authorities"])
                self.socket = context.wrap_socket(self.socket, server_hostname=host)
            except OSError:
                self.socket.close()
                raise
        self.file = self.socket.makefile("rb")
        if tls is not None and "username" in tls:
            self.ask("AUTH", tls["username"], pathlib.Path(tls["password_file"]).read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, *words: str | int):
        """Sends a command and returns its answer: text, number, list or None."""
        parts = [str(word).encode() for word in words]
        request = b"*%d\r\n" % len(parts)
        for part in parts:
            request += b"$%d\r\n%s\r\n" % (len(part), part)
        self.socket.sendall(request)
        return self.answer()

    def answer(self):
        """Reads one answer."""
        line = self.file.readline(limits.ANSWER_BYTES_MAX)
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise NotYet(rest.decode())
        if kind == b":":
            return int(rest)
        if kind not in b"$*":
            raise NotYet(f"no RESP answer: {line[:40]!r}")
        length = int(rest)
        if length < 0:
            return None
        if length > limits.ANSWER_BYTES_MAX:
            raise NotYet(f"an answer of {length} bytes is too long")
        if kind == b"*":
            return [self.answer() for _ in range(length)]
        text = self.file.read(length + 2)
        if len(text) < length + 2:
            raise ConnectionError("the server closed the connection")
        return text[:-2].decode(errors="replace")


def ask(address: str, *words: str | int, tls: dict | None = None):
    """Asks one thing over a connection of its own."""
    with Redis(address, tls) as redis:
        return redis.ask(*words)


def info(address: str, section: str, tls: dict | None = None) -> dict[str, str]:
    """A section of INFO."""
    lines = ask(address, "INFO", section, tls=tls).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
