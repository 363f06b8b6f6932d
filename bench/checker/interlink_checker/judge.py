"""One pass over a history, then the questions of the end."""

import dataclasses
from collections.abc import Iterable

from . import limits, losses
from .history import HistoryError
from .publishes import Publishes
from .recovery import Recovery
from .subscriptions import Subscriptions
from .verdict import RULES, Verdict


@dataclasses.dataclass
class Options:
    """What is asked of a run beside the rules."""

    strict: bool = False
    """Events that nobody got, with every subscriber told so, break a rule too."""
    journal_lost: bool = False
    """A node and its disk never came back."""
    late_us: int = limits.LATE_US


def judge(lines: Iterable[dict], options: Options) -> dict:
    """The verdict on a history, as one object."""
    verdict = Verdict()
    publishes = Publishes()
    subscriptions = Subscriptions(publishes, verdict)
    recovery = Recovery(publishes, options.late_us)
    steps = {
        "publish": [publishes.on_publish],
        "ack": [publishes.on_ack],
        "refused": [publishes.on_refused],
        "settled": [publishes.on_settled],
        "deliver": [recovery.on_deliver, subscriptions.on_deliver],
        "subscribed": [subscriptions.on_subscribed],
        "position": [subscriptions.on_position],
        "connected": [subscriptions.on_connected],
        "lost": [subscriptions.on_lost],
        "fault": [recovery.on_fault],
        "healed": [recovery.on_healed],
    }
    count = 0
    for line in lines:
        count += 1
        for step in steps[line["do"]]:
            step(line)
    check_worth(publishes, subscriptions)
    found = losses.judge(publishes, subscriptions, verdict, options.journal_lost)
    holds = verdict.holds and not (options.strict and found.excused)
    return {
        "ok": holds,
        **{rule: verdict.counts[rule] for rule in RULES},
        "acked": {key: dict(value) for key, value in found.acked.items()},
        "lost": {key: dict(value) for key, value in found.lost.items()},
        "lines": count,
        "published": len(publishes.by_id),
        "refused": sum(publish.refused for publish in publishes.by_id.values()),
        "unanswered": found.unanswered,
        "settled": found.settled,
        "delivered": sum(len(each.got) for each in subscriptions.all.values()),
        "subscriptions": len(subscriptions.all),
        "clients_gone": subscriptions.gone(),
        "excused": found.excused,
        "unwatched": found.unwatched,
        "accepted_lost": found.lost_accepted,
        "announced_skips": subscriptions.announced,
        "unrecovered_resumes": subscriptions.unrecovered,
        "repeats_across_sessions": subscriptions.repeats_across_sessions,
        "recovery": recovery.described(),
        "examples": verdict.examples,
    }


def check_worth(publishes: Publishes, subscriptions: Subscriptions) -> None:
    """A history in which nothing happened, or that contradicts itself, proves nothing."""
    if publishes.repeated:
        raise HistoryError(f"payload number {publishes.repeated[0]} was published twice")
    if publishes.unknown:
        raise HistoryError(
            f"payload number {publishes.unknown[0]} was answered to a client that never "
            "published it"
        )
    if not any(publish.level >= 0 for publish in publishes.by_id.values()):
        raise HistoryError("nothing was acknowledged, so nothing could be lost")
    if not any(each.got for each in subscriptions.all.values()):
        raise HistoryError("nobody got anything, so nothing can be compared")
