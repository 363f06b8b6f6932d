"""One Redis server."""

from . import limits, resp
from .record import Folder
from .redis_server import Server, described
from .waiting import until


def up(folder: Folder, base: int, core: str | None) -> dict:
    """Starts the server and waits until it answers."""
    server = Server(folder, "redis", "redis", base, base + 1)
    process = server.start(core, [])
    until(
        process.name,
        limits.REDIS_READY_S,
        lambda: resp.ask(server.address, "PING") == "PONG",
        process.check,
    )
    return {"redis": {"single": described(process, server)}}
