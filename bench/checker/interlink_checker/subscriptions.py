"""What subscribers were told and got: gaps, repeats and order, judged line by line.

A subscription is *whole* since a moment: since then nothing was announced as missing, so that the
subscriber has a right to everything that is published. It becomes whole when it is made, when a
resume was not recovered, and after an announced loss.
"""

import dataclasses

from .publishes import Publishes
from .verdict import Verdict

START = "new"
"""Reason of a subscription that had no position."""

UNANNOUNCED = "unannounced"
"""Reason of a gap that the client found out itself."""

LINEAGE = "lineage"
"""Reason of a jump over positions at which events stand again that came before. It takes no right
away: an event among them that did not come is missed."""

CONFLATED = "conflated"
"""Reason of skips that stand for several events with one key; offsets say little there."""


@dataclasses.dataclass(slots=True)
class Subscription:
    """One client and one channel."""

    client: str
    channel: str
    whole_since: int
    position: tuple[int, int] | None = None
    """Epoch and offset of the last event or announcement; unknown at the start."""
    may_skip: int = 0
    """Offsets that may be missing next, announced without a position."""
    may_change_epoch: bool = False
    got: dict[int, int] = dataclasses.field(default_factory=dict)
    """The events that came, with the session of the client in which they came."""
    ranks: dict[str, int] = dataclasses.field(default_factory=dict)
    """By publisher: the highest rank that came."""


@dataclasses.dataclass(slots=True)
class Client:
    """A client's connection."""

    is_connected: bool = True
    session: int = 0


class Subscriptions:
    """All subscriptions."""

    def __init__(self, publishes: Publishes, verdict: Verdict):
        self.publishes = publishes
        self.verdict = verdict
        self.all: dict[tuple[str, str], Subscription] = {}
        self.clients: dict[str, Client] = {}
        self.positions: dict[tuple[str, int, int], int] = {}
        """Which event got a position, as whoever saw it first."""
        self.announced = 0
        """Events that were announced as missing."""
        self.unrecovered = 0
        """Resumes that were answered with `recovered = false`."""
        self.repeats_across_sessions = 0

    def client(self, name: str) -> Client:
        """A client; one that never says so is connected all the time."""
        return self.clients.setdefault(name, Client())

    def gone(self) -> int:
        """Clients that are not connected; at the end they have no right to anything."""
        return sum(not client.is_connected for client in self.clients.values())

    def on_connected(self, line: dict) -> None:
        """A connection stands. Without a word about it, the session goes on."""
        client = self.client(line["client"])
        client.is_connected = True
        if line.get("resumed") is False:
            client.session += 1

    def on_lost(self, line: dict) -> None:
        """A connection is gone."""
        self.client(line["client"]).is_connected = False

    def on_subscribed(self, line: dict) -> None:
        """A subscription was made or continued."""
        subscription = self.subscription(line)
        is_continued = line["recovered"] and line["reason"] != START
        if not is_continued:
            self.unrecovered += not line["recovered"]
            subscription.whole_since = line["t"]
            subscription.position = None

    def on_position(self, line: dict) -> None:
        """Events are missing, or the numbering changed, and the subscriber is told."""
        subscription = self.subscription(line)
        skipped = line["skipped"]
        if line["reason"] == UNANNOUNCED:
            self.gap(line, subscription, "the client found the gap itself")
        elif "epoch" in line and "offset" in line:
            self.check_announced(line, subscription)
        if skipped > 0:
            self.announced += skipped
            subscription.whole_since = line["t"]
        if "epoch" in line and "offset" in line:
            subscription.position = (line["epoch"], line["offset"])
            subscription.may_skip = 0
            subscription.may_change_epoch = False
        else:
            subscription.may_skip += skipped
            subscription.may_change_epoch = line["reason"] == LINEAGE

    def check_announced(self, line: dict, subscription: Subscription) -> None:
        """An announcement that jumps must count what it jumps over."""
        if subscription.position is None or line["reason"] == CONFLATED:
            return
        epoch, offset = subscription.position
        jump = line["offset"] - offset
        if line["epoch"] < epoch:
            self.gap(line, subscription, f"the epoch falls from {epoch}")
        elif line["reason"] == LINEAGE and not line["skipped"]:
            return
        elif jump > line["skipped"]:
            self.gap(line, subscription, f"{jump} offsets are skipped")

    def on_deliver(self, line: dict) -> None:
        """An event came."""
        subscription = self.subscription(line)
        session = self.client(line["client"]).session
        self.check_position(line, subscription)
        before = subscription.got.get(line["id"])
        if before is not None:
            if before == session:
                self.verdict.broken("duplicates_in_session", **self.facts(line))
            else:
                self.repeats_across_sessions += 1
        else:
            self.check_order(line, subscription)
        subscription.got[line["id"]] = session
        position = (line["epoch"], line["offset"])
        if before is not None and subscription.position is not None:
            # A repeat does not take the subscription back.
            position = max(position, subscription.position)
        subscription.position = position
        subscription.may_skip = 0
        subscription.may_change_epoch = False

    def check_position(self, line: dict, subscription: Subscription) -> None:
        """The next event has the next offset, unless something else was said."""
        key = (line["channel"], line["epoch"], line["offset"])
        owner = self.positions.setdefault(key, line["id"])
        if owner != line["id"]:
            self.verdict.broken("position_conflicts", other_id=owner, **self.facts(line))
        if subscription.position is None:
            return
        epoch, offset = subscription.position
        if line["epoch"] != epoch:
            if not (subscription.may_change_epoch and line["epoch"] > epoch):
                self.gap(line, subscription, f"the epoch changes from {epoch}")
        elif line["offset"] > offset + 1 + subscription.may_skip:
            self.gap(line, subscription, f"the last offset was {offset}")
        elif line["offset"] <= offset and line["id"] not in subscription.got:
            self.gap(line, subscription, f"the offset falls from {offset}")

    def check_order(self, line: dict, subscription: Subscription) -> None:
        """Events of one publisher come as they were published."""
        publish = self.publishes.by_id.get(line["id"])
        if publish is None or publish.channel != line["channel"]:
            self.verdict.broken("phantoms", **self.facts(line))
            return
        highest = subscription.ranks.get(publish.key, 0)
        if publish.rank < highest:
            ranks = {"key": publish.key, "rank": publish.rank, "after": highest}
            self.verdict.broken("order_violations", **ranks, **self.facts(line))
        subscription.ranks[publish.key] = max(highest, publish.rank)

    def subscription(self, line: dict) -> Subscription:
        """The subscription that a line is about."""
        self.client(line["client"])
        key = (line["client"], line["channel"])
        found = self.all.get(key)
        if found is None:
            found = self.all[key] = Subscription(*key, whole_since=line["t"])
        return found

    def gap(self, line: dict, subscription: Subscription, reason: str) -> None:
        """A gap that nobody announced."""
        self.verdict.broken("unreported_gaps", reason=reason, **self.facts(line))

    @staticmethod
    def facts(line: dict) -> dict:
        """What identifies a line in an example."""
        return {key: value for key, value in line.items() if key not in ("do", "skipped", "reason")}
