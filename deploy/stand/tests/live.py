"""What tests with real servers share: a stand in a folder of its own, and secure connections."""

import json
import pathlib
import shutil
import socket
import ssl
import struct
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from interlink_stand import commands, limits  # noqa: E402
from interlink_stand.record import Folder  # noqa: E402

SASL_HANDSHAKE = (17, 1)
SASL_AUTHENTICATE = (36, 0)


FIRST_BASE = 7000
"""Where the search for free ports begins; other stands of a developer lie below."""


def free_base() -> int:
    """The first base whose ports nobody uses."""
    for base in range(FIRST_BASE, limits.PORT_MAX - limits.PORTS, 100):
        try:
            for port in range(base, base + limits.PORTS):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return base
    raise AssertionError(f"no {limits.PORTS} ports above {FIRST_BASE} are free together")


class LiveCase(unittest.TestCase):
    """One stand for all tests of a class."""

    PARTS: list[str] = []

    @classmethod
    def setUpClass(cls):
        cls.BASE = free_base()
        cls.path = pathlib.Path(tempfile.mkdtemp(prefix="interlink-stand-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.path, ignore_errors=True)
        cls.addClassCleanup(cls.command, "down")
        if cls.command("up", *cls.PARTS, "--base-port", str(cls.BASE)) != 0:
            raise AssertionError("the stand did not start; its output says why")

    @classmethod
    def command(cls, name: str, *arguments: str) -> int:
        """Runs a command on the stand."""
        return commands.main([name, *arguments, "--directory", str(cls.path)])

    def stand(self) -> dict:
        """What clients see now."""
        return json.loads((self.path / "stand.json").read_text())

    def folder(self) -> Folder:
        """The stand's folder."""
        return Folder(self.path)


def secure(tls: dict) -> ssl.SSLSocket:
    """A TLS connection that trusts the stand's authority only, and checks the name."""
    host, _, port = tls["address"].rpartition(":")
    context = ssl.create_default_context(cafile=tls["authorities"])
    plain = socket.create_connection((host, int(port)), timeout=10)
    return context.wrap_socket(plain, server_hostname=host)


def kafka_ask(connection: ssl.SSLSocket, kind: tuple[int, int], body: bytes) -> bytes:
    """Sends a request of Kafka and returns the answer behind its header."""
    request = struct.pack(">hhih", *kind, 1, -1) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    with connection.makefile("rb") as file:
        (length,) = struct.unpack(">i", file.read(4))
        return file.read(length)[4:]


def sasl_plain(tls: dict, password: str) -> int:
    """Authenticates by SASL PLAIN and returns Kafka's error code, 0 when it is let in."""
    with secure(tls) as connection:
        name = b"PLAIN"
        answer = kafka_ask(connection, SASL_HANDSHAKE, struct.pack(">h", len(name)) + name)
        (code,) = struct.unpack_from(">h", answer)
        if code != 0:
            return code
        token = f"\0{tls['username']}\0{password}".encode()
        body = struct.pack(">i", len(token)) + token
        (code,) = struct.unpack_from(">h", kafka_ask(connection, SASL_AUTHENTICATE, body))
        return code
