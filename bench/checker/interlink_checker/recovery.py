"""How long faults were felt.

Of every fault: how long each subscription waited for the first event that was published after the
fault began, and until when deliveries were late. A fault's time ends with the next fault.
"""

import dataclasses

from .publishes import Publishes


@dataclasses.dataclass(slots=True)
class Fault:
    """One fault."""

    what: str
    time: int
    healed: int | None = None
    resumed: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    """By subscription: microseconds from the fault to the first event published after it."""
    late_until: int = 0
    """When the last late delivery came; 0 without one."""

    def described(self) -> dict:
        """As the report shows it."""
        waits = sorted(self.resumed.values())
        catch_up = max(0, self.late_until - self.healed) if self.healed is not None else None
        return {
            "what": self.what,
            "t": self.time,
            "healed_after_us": None if self.healed is None else self.healed - self.time,
            "subscriptions": len(waits),
            "recovery_p50_us": percentile(waits, 50),
            "recovery_p99_us": percentile(waits, 99),
            "recovery_max_us": waits[-1] if waits else None,
            "late_for_us": max(0, self.late_until - self.time) if self.late_until else 0,
            "catch_up_us": catch_up,
        }


class Recovery:
    """All faults."""

    def __init__(self, publishes: Publishes, late_us: int):
        self.publishes = publishes
        self.late_us = late_us
        self.faults: list[Fault] = []

    def on_fault(self, line: dict) -> None:
        """Something was made to fail."""
        self.faults.append(Fault(line["what"], line["t"]))

    def on_healed(self, line: dict) -> None:
        """The last fault that was not ended is ended."""
        for fault in reversed(self.faults):
            if fault.healed is None:
                fault.healed = line["t"]
                return

    def on_deliver(self, line: dict) -> None:
        """An event came; the last fault is the one that may be felt."""
        if not self.faults:
            return
        fault = self.faults[-1]
        publish = self.publishes.by_id.get(line["id"])
        if publish is None:
            return
        if publish.time >= fault.time:
            key = (line["client"], line["channel"])
            fault.resumed.setdefault(key, line["t"] - fault.time)
        if line["t"] - publish.time > self.late_us:
            fault.late_until = line["t"]

    def described(self) -> dict:
        """Every fault, and all of a kind together."""
        together: dict[str, list[int]] = {}
        for fault in self.faults:
            together.setdefault(fault.what, []).extend(fault.resumed.values())
        kinds = {}
        for what, waits in together.items():
            waits.sort()
            kinds[what] = {
                "rounds": sum(fault.what == what for fault in self.faults),
                "recovery_p50_us": percentile(waits, 50),
                "recovery_p99_us": percentile(waits, 99),
                "recovery_max_us": waits[-1] if waits else None,
            }
        return {"by_what": kinds, "each": [fault.described() for fault in self.faults]}


def percentile(values: list[int], of_hundred: int) -> int | None:
    """The smallest value that is not below so many of a hundred; values are sorted."""
    if not values:
        return None
    return values[max(0, -(-len(values) * of_hundred // 100) - 1)]
