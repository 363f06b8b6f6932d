"""What breaks a rule: counted by rule, with the first examples."""

import collections

from . import limits

RULES = {
    "acked_lost": "acknowledged as stored, and no subscriber that had a right to it got it",
    "settled_lost": "settled, and no subscriber that had a right to it got it",
    "missed": "stored, and one subscriber with a right to it did not get it",
    "order_violations": "events of one publisher and channel came in another order",
    "duplicates_in_session": "one session of a client got an event twice",
    "unreported_gaps": "offsets jumped, or the numbering changed, and nobody said so",
    "position_conflicts": "one position was given to two events",
    "phantoms": "delivered, and nobody had published it",
}
"""Every rule; one broken makes the run fail."""


class Verdict:
    """Counts by rule, and examples."""

    def __init__(self):
        self.counts = collections.Counter()
        self.examples: list[dict] = []

    def broken(self, rule: str, **facts) -> None:
        """Notes that a rule was broken."""
        assert rule in RULES, rule
        self.counts[rule] += 1
        # Each rule shows its first ones, so that a flood of one does not hide another.
        if self.counts[rule] <= limits.EXAMPLES_MAX:
            self.examples.append({"rule": rule, **facts})

    @property
    def holds(self) -> bool:
        """Whether no rule was broken."""
        return not self.counts
