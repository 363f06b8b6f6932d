"""What publishers did, and what they were promised."""

import collections
import dataclasses

from . import limits


@dataclasses.dataclass(slots=True)
class Publish:
    """One event."""

    id: int
    time: int
    client: str
    channel: str
    klass: int
    key: str
    rank: int
    """Place among the events of its publisher and channel."""
    level: int = -1
    """Highest level that was acknowledged, as a place in `limits.LEVELS`; -1 without an ack."""
    degraded: bool = False
    refused: bool = False
    settled: bool = False

    @property
    def is_stored(self) -> bool:
        """Whether somebody was promised that it outlives a process."""
        return self.level >= 1 or self.settled


class Publishes:
    """All events by their payload number."""

    def __init__(self):
        self.by_id: dict[int, Publish] = {}
        self.repeated: list[int] = []
        self.unknown: list[int] = []
        """Payload numbers that were answered and never published."""
        self._ranks: collections.Counter = collections.Counter()
        self._unsettled: dict[tuple[str, int], list[Publish]] = collections.defaultdict(list)

    def on_publish(self, line: dict) -> None:
        """An event was handed to its client."""
        if line["id"] in self.by_id:
            self.repeated.append(line["id"])
            return
        place = (line["key"], line["channel"])
        self._ranks[place] += 1
        publish = Publish(
            id=line["id"],
            time=line["t"],
            client=line["client"],
            channel=line["channel"],
            klass=line["class"],
            key=line["key"],
            rank=self._ranks[place],
        )
        self.by_id[publish.id] = publish
        self._unsettled[publish.client, publish.klass].append(publish)

    def on_ack(self, line: dict) -> None:
        """It was acknowledged; a repeat may be acknowledged again, and higher."""
        publish = self.answered(line)
        if publish is not None:
            publish.level = max(publish.level, limits.LEVELS.index(line["level"]))
            publish.degraded = line["degraded"]

    def on_refused(self, line: dict) -> None:
        """It was refused for good."""
        publish = self.answered(line)
        if publish is not None:
            publish.refused = True

    def on_settled(self, line: dict) -> None:
        """Everything of a client and class up to a number, handed over before, is settled."""
        place = (line["client"], line["class"])
        left = []
        for publish in self._unsettled[place]:
            if publish.id <= line["through"]:
                publish.settled = not publish.refused
            else:
                left.append(publish)
        self._unsettled[place] = left

    def answered(self, line: dict) -> Publish | None:
        """The event that an answer is about."""
        publish = self.by_id.get(line["id"])
        if publish is None or publish.client != line["client"]:
            self.unknown.append(line["id"])
            return None
        return publish
