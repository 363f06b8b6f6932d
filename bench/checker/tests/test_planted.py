"""Random valid histories hold; each planted fault is caught by its rule."""

import collections
import copy
import random
import unittest

from planted import PLANTED
from scenes import broken, verdict
from world import World

HISTORIES = 200
"""Seeds 0 to 199: every fault finds places in at least a quarter of them."""


class PlantedTest(unittest.TestCase):
    """A failing seed is named and can be run again."""

    def test_valid_histories_hold(self):
        totals: collections.Counter = collections.Counter()
        for seed in range(HISTORIES):
            with self.subTest(seed=seed):
                history = World(seed).history()
                self.assertEqual(broken(history), set())
                found = verdict(history)
                names = ("delivered", "settled", "refused", "announced_skips", "excused")
                names += ("unrecovered_resumes", "accepted_lost", "repeats_across_sessions")
                totals.update({name: found[name] for name in names})
        # What never happened in the valid histories was not shown to be allowed.
        for name in ("delivered", "settled", "refused", "announced_skips", "unrecovered_resumes"):
            self.assertGreater(totals[name], 100, name)

    def test_every_planted_fault_is_caught(self):
        planted: collections.Counter = collections.Counter()
        for seed in range(HISTORIES):
            history = World(seed).history()
            for plant, rule in PLANTED.items():
                with self.subTest(seed=seed, fault=plant.__name__):
                    changed = plant(copy.deepcopy(history), random.Random(seed))
                    if changed is None:
                        continue
                    planted[plant.__name__] += 1
                    self.assertIn(rule, broken(changed))
        for plant in PLANTED:
            self.assertGreater(planted[plant.__name__], HISTORIES // 4, plant.__name__)


if __name__ == "__main__":
    unittest.main()
