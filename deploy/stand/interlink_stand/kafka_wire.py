"""Asking a Kafka broker which brokers it knows, by one Metadata request.

Layout: Kafka protocol, Metadata version 7, request header version 1.
"""

import socket
import struct

from . import limits
from .waiting import NotYet

METADATA = 3
METADATA_VERSION = 7
CORRELATION = 1


def request(client: str = "stand") -> bytes:
    """A Metadata request for no topics."""
    name = client.encode()
    header = struct.pack(">hhih", METADATA, METADATA_VERSION, CORRELATION, len(name)) + name
    # An empty list of topics, and none is to be created.
    body = struct.pack(">i?", 0, False)
    return struct.pack(">i", len(header) + len(body)) + header + body


class Reader:
    """Reads the fields of an answer."""

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, form: str):
        """One number."""
        try:
            (value,) = struct.unpack_from(form, self.data, self.at)
        except struct.error as error:
            raise NotYet(f"the answer is cut: {error}") from error
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str | None:
        """A text, or null."""
        length = self.take(">h")
        if length < 0:
            return None
        value = self.data[self.at : self.at + length]
        self.at += length
        return value.decode(errors="replace")


def brokers_of(answer: bytes) -> dict[int, str]:
    """Ids and addresses of the brokers in a Metadata answer, without its length."""
    reader = Reader(answer)
    if reader.take(">i") != CORRELATION:
        raise NotYet("the answer is to another question")
    reader.take(">i")
    brokers = {}
    for _ in range(reader.take(">i")):
        number = reader.take(">i")
        host = reader.text()
        brokers[number] = f"{host}:{reader.take('>i')}"
        reader.text()
    return brokers


def brokers(address: str) -> dict[int, str]:
    """The brokers that a broker knows as alive."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=limits.ANSWER_S) as connection:
        connection.sendall(request())
        with connection.makefile("rb") as file:
            head = file.read(4)
            if len(head) < 4:
                raise ConnectionError("the broker closed the connection")
            (length,) = struct.unpack(">i", head)
            if not 0 < length <= limits.ANSWER_BYTES_MAX:
                raise NotYet(f"an answer of {length} bytes is no Metadata")
            body = file.read(length)
    if len(body) < length:
        raise ConnectionError("the broker closed the connection")
    return brokers_of(body)
