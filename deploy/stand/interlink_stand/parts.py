"""What a stand can consist of, and how the parts are started, one after the other."""

from collections.abc import Callable

from . import kafka, kafka_wire, limits, postgres, redis_cluster, redis_sentinel, redis_single
from . import resp
from .errors import StandError
from .processes import Process
from .record import Folder

Up = Callable[[Folder, int, str | None], dict]

PARTS: dict[str, Up] = {
    "redis": redis_single.up,
    "redis-sentinel": lambda *place: redis_sentinel.up(*place, redis_sentinel.CLEAR),
    "redis-sentinel-tls": lambda *place: redis_sentinel.up(*place, redis_sentinel.SECURE),
    "redis-cluster": redis_cluster.up,
    "kafka": lambda folder, base, core: kafka.up(folder, base, core, 1, "kafka"),
    "kafka3": lambda folder, base, core: kafka.up(folder, base, core, 3, "kafka3"),
    "postgres": postgres.up,
}

OWN: dict[str, tuple[str, ...]] = {
    "redis": ("redis", "single"),
    "redis-sentinel": ("redis", "sentinel"),
    "redis-sentinel-tls": ("redis", "sentinel_tls"),
    "redis-cluster": ("redis", "cluster"),
    "kafka": ("kafka",),
    "kafka3": ("kafka",),
    "postgres": ("postgres",),
}
"""Where a part stands in `stand.json`."""


OFFSETS: dict[str, range] = {
    "redis": range(0, 2),
    "redis-sentinel": range(10, 19),
    "redis-sentinel-tls": range(70, 76),
    "redis-cluster": range(20, 46),
    "kafka": range(50, 59),
    "kafka3": range(50, 59),
    "postgres": range(60, 61),
}
"""Ports of a part from the base. Not all are used: the gaps make the numbers readable."""

assert all(offsets.stop <= limits.PORTS for offsets in OFFSETS.values())


def chosen(names: list[str]) -> list[str]:
    """The wanted parts in a fixed order; without names what `.ci/run` needs."""
    wanted = names or [name for name in PARTS if name != "kafka3"]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        raise StandError(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if {"kafka", "kafka3"} <= set(wanted):
        raise StandError(
            "kafka and kafka3 use the same ports; give one of them, or a second stand with "
            "another --directory and --base-port"
        )
    return [name for name in PARTS if name in wanted]


def ports(part: str, base: int) -> range:
    """The ports of a part."""
    offsets = OFFSETS[part]
    return range(base + offsets.start, base + offsets.stop)


def merge(into: dict, more: dict) -> dict:
    """Adds a part's description to that of the others."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


def without(description: dict, part: str) -> dict:
    """The description with a part taken out."""
    *above, last = OWN[part]
    place = description
    for key in above:
        place = place.get(key, {})
    place.pop(last, None)
    return {key: value for key, value in description.items() if value}


def set_pid(description: object, name: str, pid: int) -> None:
    """Writes the new id of a process that was started again."""
    if isinstance(description, dict):
        if description.get("name") == name:
            description["pid"] = pid
        for value in description.values():
            set_pid(value, name, pid)
    if isinstance(description, list):
        for value in description:
            set_pid(value, name, pid)


def answers(process: Process) -> bool:
    """Whether a single server answers; says nothing about its peers."""
    match process.kind:
        case "redis":
            return resp.ask(process.address, "PING", tls=process.tls) == "PONG"
        case "kafka":
            own = kafka_wire.brokers(process.address)
            return process.address in own.values()
        case "postgres":
            return postgres.answers(process.address)
    raise StandError(f"processes.json names a server of the unknown kind {process.kind}")
