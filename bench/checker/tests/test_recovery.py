"""Times to recovery."""

import unittest

from scenes import Scene, sent, verdict

from interlink_checker.recovery import percentile


class RecoveryTest(unittest.TestCase):
    """A millisecond a line."""

    def test_a_subscription_recovers_with_the_first_event_published_after_the_fault(self):
        # The fault is line 4, so at 4 ms; the event published after it comes at 8 ms.
        scene = sent(1).fault().publish(2).ack(2).deliver(1, 1).deliver(2, 2)
        each = verdict(scene)["recovery"]["each"]
        self.assertEqual((each[0]["recovery_max_us"], each[0]["subscriptions"]), (4000, 1))
        self.assertIsNone(each[0]["healed_after_us"])

    def test_late_deliveries_are_counted_from_the_fault_and_from_its_end(self):
        # Published at 5, fault at 4, healed at 7, delivered at 8: late with a bound of 2 ms.
        scene = sent(1).fault().publish(2).ack(2).healed().deliver(1, 1).deliver(2, 2)
        each = verdict(scene, late_us=2000)["recovery"]["each"][0]
        self.assertEqual((each["healed_after_us"], each["late_for_us"]), (3000, 5000))
        self.assertEqual(each["catch_up_us"], 2000)
        each = verdict(scene, late_us=60000)["recovery"]["each"][0]
        self.assertEqual((each["late_for_us"], each["catch_up_us"]), (0, 0))

    def test_rounds_of_one_kind_are_taken_together(self):
        scene = Scene().subscribe().fault("a").publish(1).ack(1).deliver(1, 1)
        scene.fault("b").fault("a").publish(2).ack(2).add("healed").deliver(2, 2)
        found = verdict(scene)["recovery"]
        self.assertEqual(found["by_what"]["a"]["rounds"], 2)
        self.assertEqual(found["by_what"]["a"]["recovery_max_us"], 4000)
        self.assertEqual(found["by_what"]["a"]["recovery_p50_us"], 3000)
        self.assertIsNone(found["by_what"]["b"]["recovery_p99_us"])
        self.assertEqual([each["healed_after_us"] for each in found["each"]], [None, None, 3000])

    def test_a_percentile_is_a_value_that_was_seen(self):
        values = list(range(1, 201))
        self.assertEqual([percentile(values, at) for at in (50, 99, 100)], [100, 198, 200])
        self.assertEqual((percentile([7], 1), percentile([], 99)), (7, None))


if __name__ == "__main__":
    unittest.main()
