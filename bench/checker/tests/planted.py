"""Faults that are planted in valid histories, each with the rule that must catch it.

A fault is a function of a history and a source of chance. It returns the changed history, or
nothing when the history has no place for it.
"""

import copy
import random

History = list[dict]


def streams(history: History) -> dict[tuple[str, str], list[int]]:
    """By subscription: the places of its lines."""
    found: dict[tuple[str, str], list[int]] = {}
    for at, line in enumerate(history):
        if line["do"] in ("deliver", "position", "subscribed"):
            found.setdefault((line["client"], line["channel"]), []).append(at)
    return found


def neighbours(history: History) -> list[tuple[int, int]]:
    """Pairs of deliveries that follow each other in a stream, in one epoch."""
    pairs = []
    for places in streams(history).values():
        for one, two in zip(places, places[1:]):
            lines = (history[one], history[two])
            if {line["do"] for line in lines} == {"deliver"}:
                pairs.append((one, two))
    return pairs


def entitled(history: History) -> dict[int, list[str]]:
    """By event: who has a right to it, by a narrower reading than the checker's.

    Counted are subscriptions that were never interrupted and never told of a loss.
    """
    away, broken, since = set(), set(), {}
    for line in history:
        if line["do"] == "lost":
            away.add(line["client"])
        if line["do"] == "position" and line["skipped"]:
            broken.add((line["client"], line["channel"]))
        if line["do"] == "subscribed":
            since.setdefault((line["client"], line["channel"]), line["t"])
    found: dict[int, list[str]] = {}
    for line in history:
        if line["do"] != "publish":
            continue
        for (client, channel), start in since.items():
            is_whole = client not in away and (client, channel) not in broken
            if channel == line["channel"] and is_whole and start < line["t"]:
                found.setdefault(line["id"], []).append(client)
    return found


def without_event(history: History, number: int) -> History:
    """The history as if the server had lost an event before it was numbered."""
    gone = [line for line in history if line["do"] == "deliver" and line["id"] == number]
    channel, epoch, offset = gone[0]["channel"], gone[0]["epoch"], gone[0]["offset"]
    changed = []
    for line in history:
        if line["do"] == "deliver" and line["id"] == number:
            continue
        same = line.get("channel") == channel and line.get("epoch") == epoch
        if same and line["do"] in ("deliver", "position") and line["offset"] >= offset:
            line = {**line, "offset": line["offset"] - 1}
        changed.append(line)
    return changed


def stored(history: History) -> set[int]:
    """Events that were acknowledged as more than accepted."""
    acks = (line for line in history if line["do"] == "ack" and line["level"] != "accepted")
    return {line["id"] for line in acks}


def lost_ack(history: History, chance: random.Random) -> History | None:
    """An acknowledged event never comes, and the numbering hides it."""
    choice = sorted(stored(history) & set(entitled(history)))
    return without_event(history, chance.choice(choice)) if choice else None


def false_settled(history: History, chance: random.Random) -> History | None:
    """An event that was never acknowledged is settled, and never comes."""
    choice = sorted(stored(history) & set(entitled(history)))
    if not choice:
        return None
    number = chance.choice(choice)
    changed = without_event(history, number)
    changed = [x for x in changed if not (x["do"] == "ack" and x["id"] == number)]
    publish = next(line for line in history if line["do"] == "publish" and line["id"] == number)
    mark = {"client": publish["client"], "class": publish["class"], "through": number}
    return [*changed, {"t": history[-1]["t"], "do": "settled", **mark}]


def lost_tail(history: History, chance: random.Random) -> History | None:
    """One of several subscribers does not get the last event."""
    rights, kept = entitled(history), stored(history)
    choice = []
    for (client, _), places in streams(history).items():
        last = history[places[-1]]
        if last["do"] != "deliver" or client not in rights.get(last["id"], []):
            continue
        others = [x for x in history if x["do"] == "deliver" and x["id"] == last["id"]]
        if len(others) > 1 and last["id"] in kept:
            choice.append(places[-1])
    if not choice:
        return None
    at = chance.choice(choice)
    return history[:at] + history[at + 1 :]


def silent_gap(history: History, chance: random.Random) -> History | None:
    """One delivery in the middle of a stream is missing."""
    pairs = neighbours(history)
    firsts = {one for one, _ in pairs} & {two for _, two in pairs}
    if not firsts:
        return None
    at = chance.choice(sorted(firsts))
    return history[:at] + history[at + 1 :]


def swapped(history: History, one: int, two: int) -> None:
    """Gives two events each other's number, for everybody."""
    for line in history:
        if line["do"] == "deliver" and line["id"] in (one, two):
            line["id"] = two if line["id"] == one else one


def swapped_order(history: History, chance: random.Random) -> History | None:
    """Two events of one publisher are numbered the wrong way round."""
    keys = {line["id"]: line["key"] for line in history if line["do"] == "publish"}
    late = {line["id"]: line["t"] for line in history if line["do"] == "publish"}
    pairs = []
    for one, two in neighbours(history):
        first, second = history[one]["id"], history[two]["id"]
        seen = [x["t"] for x in history if x["do"] == "deliver" and x["id"] == first]
        if keys[first] == keys[second] and min(seen) > late[second]:
            pairs.append((first, second))
    if not pairs:
        return None
    changed = copy.deepcopy(history)
    swapped(changed, *chance.choice(pairs))
    return changed


def duplicate(history: History, chance: random.Random) -> History | None:
    """A delivery comes twice."""
    choice = [at for at, line in enumerate(history) if line["do"] == "deliver"]
    if not choice:
        return None
    at = chance.choice(choice)
    return history[: at + 1] + history[at:]


def reused_offset(history: History, chance: random.Random) -> History | None:
    """A failed-over server gives out an offset again: one stream goes on one lower."""
    pairs = neighbours(history)
    if not pairs:
        return None
    one, two = chance.choice(pairs)
    changed = copy.deepcopy(history)
    changed[two]["offset"] = changed[one]["offset"]
    return changed


def conflict(history: History, chance: random.Random) -> History | None:
    """Two subscribers see different events at one position."""
    seen: dict[tuple, list[int]] = {}
    for at, line in enumerate(history):
        if line["do"] == "deliver":
            seen.setdefault((line["channel"], line["epoch"], line["offset"]), []).append(at)
    choice = [places for places in seen.values() if len(places) > 1]
    if not choice:
        return None
    places = chance.choice(choice)
    changed = copy.deepcopy(history)
    line = changed[places[-1]]
    others = [x["id"] for x in history[: places[-1]] if x["do"] == "publish"
              and x["channel"] == line["channel"] and x["id"] != line["id"]]
    if not others:
        return None
    line["id"] = chance.choice(others)
    return changed


def phantom(history: History, chance: random.Random) -> History | None:
    """An event comes that nobody published."""
    choice = [at for at, line in enumerate(history) if line["do"] == "deliver"]
    if not choice:
        return None
    changed = copy.deepcopy(history)
    changed[chance.choice(choice)]["id"] = 10**9
    return changed


def hidden_epoch(history: History, chance: random.Random) -> History | None:
    """A change of the numbering is not announced."""
    choice = [at for at, x in enumerate(history) if x["do"] == "position" and not x["skipped"]]
    if not choice:
        return None
    at = chance.choice(choice)
    return history[:at] + history[at + 1 :]


def understated(history: History, chance: random.Random) -> History | None:
    """An announced loss counts one less than it is."""
    choice = [at for at, x in enumerate(history) if x["do"] == "position" and x["skipped"]]
    if not choice:
        return None
    changed = copy.deepcopy(history)
    changed[chance.choice(choice)]["skipped"] -= 1
    return changed


PLANTED = {
    lost_ack: "acked_lost",
    false_settled: "settled_lost",
    lost_tail: "missed",
    silent_gap: "unreported_gaps",
    swapped_order: "order_violations",
    duplicate: "duplicates_in_session",
    reused_offset: "unreported_gaps",
    conflict: "position_conflicts",
    phantom: "phantoms",
    hidden_epoch: "unreported_gaps",
    understated: "unreported_gaps",
}
"""Every fault, and the rule that must catch it."""
