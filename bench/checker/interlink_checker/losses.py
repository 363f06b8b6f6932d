"""Who should have got what, asked at the end.

A subscriber has a right to an event of its channel when it is connected at the end and its
subscription is whole since before the event was published. An event is *lost* when some had a
right to it and none got it, *missed* when one had a right to it, did not get it, and another did.
"""

import collections

from . import limits
from .publishes import Publish, Publishes
from .subscriptions import Subscription, Subscriptions
from .verdict import Verdict


class Losses:
    """Counts by class and level."""

    def __init__(self):
        self.acked = table()
        self.lost = table()
        self.excused = 0
        """Stored, and got by nobody, while every subscriber had been told that it misses events."""
        self.unwatched = 0
        """Stored on channels without a subscriber; nothing is known of them."""
        self.lost_accepted = 0
        """Accepted only, and lost: allowed when a node dies."""
        self.settled = 0
        self.unanswered = 0


def table() -> dict[str, collections.Counter]:
    """Counters by class, then by level."""
    return {f"P{klass}": collections.Counter() for klass in range(limits.CLASSES)}


def judge(publishes: Publishes, subscriptions: Subscriptions, verdict: Verdict,
          journal_lost: bool) -> Losses:
    """Looks at every event."""
    losses = Losses()
    by_channel: dict[str, list[Subscription]] = collections.defaultdict(list)
    for subscription in subscriptions.all.values():
        by_channel[subscription.channel].append(subscription)
    for publish in publishes.by_id.values():
        judge_one(publish, by_channel[publish.channel], subscriptions, verdict, losses,
                  journal_lost)
    return losses


def judge_one(publish: Publish, watchers: list[Subscription], subscriptions: Subscriptions,
              verdict: Verdict, losses: Losses, journal_lost: bool) -> None:
    """Looks at one event."""
    losses.settled += publish.settled
    if publish.level < 0:
        losses.unanswered += not (publish.refused or publish.settled)
    else:
        losses.acked[f"P{publish.klass}"][limits.LEVELS[publish.level]] += 1
    if publish.level < 0 and not publish.settled:
        return
    if not watchers:
        losses.unwatched += publish.is_stored
        return
    entitled = [each for each in watchers if has_right(each, publish, subscriptions)]
    missing = [each for each in entitled if publish.id not in each.got]
    is_got = any(publish.id in each.got for each in watchers)
    if not publish.is_stored:
        losses.lost_accepted += bool(missing) and not is_got
        return
    if not is_got and not missing:
        losses.excused += 1
    if not missing or gone_with_its_node(publish, subscriptions, journal_lost):
        return
    facts = facts_of(publish)
    if is_got:
        for each in missing:
            verdict.broken("missed", subscriber=each.client, **facts)
        return
    level = limits.LEVELS[publish.level] if publish.level >= 0 else "settled"
    losses.lost[f"P{publish.klass}"][level] += 1
    if publish.level >= 1:
        verdict.broken("acked_lost", **facts)
    if publish.settled:
        verdict.broken("settled_lost", **facts)


def has_right(subscription: Subscription, publish: Publish, subscriptions: Subscriptions) -> bool:
    """Whether the subscriber must have got the event."""
    is_connected = subscriptions.client(subscription.client).is_connected
    return is_connected and subscription.whole_since <= publish.time


def gone_with_its_node(publish: Publish, subscriptions: Subscriptions, journal_lost: bool) -> bool:
    """Whether an event could only be on the disk of a node that never came back.

    `local` promises no more than the disk, and the client that would have sent the event again is
    gone too.
    """
    is_publisher_gone = not subscriptions.client(publish.client).is_connected
    return journal_lost and is_publisher_gone and publish.level == 1 and not publish.settled


def facts_of(publish: Publish) -> dict:
    """What identifies an event in an example."""
    return {
        "id": publish.id,
        "t": publish.time,
        "client": publish.client,
        "channel": publish.channel,
        "class": publish.klass,
        "level": limits.LEVELS[publish.level] if publish.level >= 0 else None,
        "degraded": publish.degraded,
        "settled": publish.settled,
    }
