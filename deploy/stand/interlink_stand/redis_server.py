"""One Redis server of the stand, in whichever part: its configuration and its process.

A server listens twice: in the clear, where the default user needs no password, and with TLS. On
both the user `interlink` needs the stand's password. A secure server listens with TLS only, and
has no other user.
"""

import shutil

from . import certificates, resp
from .processes import Process
from .record import Folder

USER = "interlink"


class Server:
    """A server and where it listens."""

    def __init__(self, folder: Folder, part: str, name: str, port: int | None, tls_port: int):
        self.folder = folder
        self.part = part
        self.name = name
        self.port = port
        self.tls_port = tls_port
        self.address = f"127.0.0.1:{port or tls_port}"
        self.asking = None if port else credentials(folder)

    def info(self, section: str) -> dict[str, str]:
        """A section of the server's INFO."""
        return resp.info(self.address, section, self.asking)

    def start(self, core: str | None, lines: list[str]) -> Process:
        """Writes the configuration with the lines of the part, and starts the server."""
        data = self.folder.part(self.name)
        configuration = data / "redis.conf"
        configuration.write_text("\n".join([*self.settings(str(data)), *lines]) + "\n")
        process = Process(
            name=self.name,
            part=self.part,
            command=[str(shutil.which("redis-server")), str(configuration)],
            folder=str(data),
            log=str(data / "log"),
            address=self.address,
            kind="redis",
            core=core,
            tls=self.asking,
        )
        self.folder.add(process)
        return process

    def settings(self, data: str) -> list[str]:
        """What all servers have: durable as in production, loopback only."""
        files = certificates.of(self.folder)
        password, _ = self.folder.secret("redis")
        return [
            "bind 127.0.0.1",
            f"port {self.port or 0}",
            f"tls-port {self.tls_port}",
            f"tls-cert-file {files.certificate}",
            f"tls-key-file {files.key}",
            f"tls-ca-cert-file {files.authorities}",
            "tls-auth-clients no",
            f"dir {data}",
            "daemonize no",
            'save ""',
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
            "enable-debug-command local",
            f"user default {'on nopass ~* &* +@all' if self.port else 'off'}",
            f"user {USER} on >{password} ~* &* +@all",
        ]

    def tls(self) -> dict:
        """How clients reach the server by TLS."""
        password, _ = self.folder.secret("redis")
        where = {"address": f"127.0.0.1:{self.tls_port}", "password": password}
        return {**where, **credentials(self.folder)}


def credentials(folder: Folder) -> dict:
    """The authorities, and the user with the file of its password."""
    _, file = folder.secret("redis")
    return {
        "authorities": str(certificates.of(folder).authorities),
        "username": USER,
        "password_file": file,
    }


def described(process: Process, server: Server) -> dict:
    """A server as `stand.json` shows it."""
    return {
        "name": process.name,
        "address": server.address,
        "pid": process.pid,
        "tls": server.tls(),
    }
