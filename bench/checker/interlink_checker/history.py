"""Reading histories: NDJSON, one thing that happened on a line, `t` in microseconds of one clock.

Several files are merged by time. A line that cannot be read, or times that fall within a file,
make the history worthless, and that is said instead of a verdict.
"""

import heapq
import json
from collections.abc import Iterable, Iterator

from . import limits


class HistoryError(Exception):
    """The history proves nothing, with the place and the reason."""


NEEDED: dict[str, dict[str, type]] = {
    "publish": {"client": str, "channel": str, "id": int, "class": int, "key": str},
    "ack": {"client": str, "id": int, "level": str, "degraded": bool},
    "refused": {"client": str, "id": int, "code": int},
    "settled": {"client": str, "class": int, "through": int},
    "deliver": {"client": str, "channel": str, "epoch": int, "offset": int, "id": int},
    "subscribed": {"client": str, "channel": str, "recovered": bool, "reason": str},
    "position": {"client": str, "channel": str, "skipped": int, "reason": str},
    "connected": {"client": str},
    "lost": {"client": str},
    "fault": {"what": str},
    "healed": {},
}
"""What each kind of line must say; other fields may be there."""


def checked(line: str, place: str) -> dict:
    """A line as an object with everything that its kind needs."""
    if len(line) > limits.LINE_BYTES_MAX:
        raise HistoryError(f"{place}: a line of {len(line)} bytes is no history")
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise HistoryError(f"{place}: {error}") from error
    kind = entry.get("do") if isinstance(entry, dict) else None
    needed = NEEDED.get(kind) if isinstance(kind, str) else None
    if needed is None:
        raise HistoryError(f"{place}: no line is called {kind!r}")
    for name, wanted in {"t": int, **needed}.items():
        value = entry.get(name)
        # A truth value is a number to Python, and not here.
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise HistoryError(f"{place}: {kind} needs {name} as {wanted.__name__}, not {value!r}")
    if kind in ("publish", "settled") and not 0 <= entry["class"] < limits.CLASSES:
        raise HistoryError(f"{place}: there is no class {entry['class']}")
    if kind == "ack" and entry["level"] not in limits.LEVELS:
        raise HistoryError(f"{place}: there is no level {entry['level']!r}")
    return entry


def lines_of(name: str, lines: Iterable[str]) -> Iterator[dict]:
    """The lines of one file in their order."""
    before = None
    for number, line in enumerate(lines, start=1):
        entry = checked(line, f"{name}:{number}")
        if before is not None and entry["t"] < before:
            raise HistoryError(f"{name}:{number}: time falls from {before} to {entry['t']}")
        before = entry["t"]
        yield entry


def merged(files: Iterable[tuple[str, Iterable[str]]]) -> Iterator[dict]:
    """All lines in the order of time; those of one file stay in their order.

    Of lines of the same microsecond in several files, publishes come first: they are causes.
    """
    streams = [lines_of(name, lines) for name, lines in files]
    return heapq.merge(*streams, key=lambda entry: (entry["t"], entry["do"] != "publish"))
