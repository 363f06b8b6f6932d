"""Rules about what never came: each has histories that hold and that must be caught."""

import unittest

from scenes import Scene, broken, sent, verdict


class AckedLost(unittest.TestCase):
    """`acked_lost` and `missed`."""

    def test_what_came_is_not_lost(self):
        self.assertEqual(broken(sent(1, 2).deliver(1, 1).deliver(2, 2)), set())

    def test_an_acked_event_that_nobody_got_is_lost(self):
        found = verdict(sent(1, 2).deliver(1, 1))
        self.assertEqual(found["acked_lost"], 1)
        self.assertEqual(found["lost"]["P1"], {"local": 1})
        self.assertFalse(found["ok"])

    def test_a_loss_of_the_highest_level_is_counted_there(self):
        scene = sent(1, 2).ack(2, "replicated").deliver(1, 1)
        self.assertEqual(verdict(scene)["lost"]["P1"], {"replicated": 1})

    def test_a_later_and_lower_ack_does_not_lower_the_promise(self):
        scene = sent(1, 2).ack(2, "replicated").ack(2, "local").deliver(1, 1)
        self.assertEqual(verdict(scene)["lost"]["P1"], {"replicated": 1})

    def test_an_event_without_an_ack_may_be_lost(self):
        self.assertEqual(broken(sent(1).deliver(1, 1).publish(2)), set())

    def test_an_event_that_was_only_accepted_may_be_lost_and_is_counted(self):
        found = verdict(sent(1).deliver(1, 1).publish(2, klass=2).ack(2, "accepted"))
        self.assertEqual((found["ok"], found["accepted_lost"]), (True, 1))

    def test_one_who_missed_what_another_got_is_named(self):
        scene = Scene().subscribe("s").subscribe("r").publish(1).ack(1).deliver(1, 1)
        found = verdict(scene)
        self.assertEqual((found["missed"], found["acked_lost"]), (1, 0))
        self.assertEqual(found["examples"][0]["subscriber"], "r")

    def test_who_subscribed_later_has_no_right_to_it(self):
        scene = Scene().subscribe("s").publish(1).ack(1).deliver(1, 1).subscribe("r")
        self.assertEqual(broken(scene), set())

    def test_who_is_gone_at_the_end_has_no_right_to_it(self):
        scene = Scene().subscribe("s").subscribe("r").publish(1).ack(1).lost("r").deliver(1, 1)
        self.assertEqual(broken(scene), set())
        self.assertEqual(verdict(scene)["clients_gone"], 1)
        self.assertEqual(verdict(scene.connected("r"))["clients_gone"], 0)

    def test_who_came_back_recovered_has_a_right_to_what_was_published_meanwhile(self):
        scene = sent(1).deliver(1, 1).lost().publish(2).ack(2).connected()
        scene.subscribe(reason="none")
        self.assertEqual(broken(scene), {"acked_lost"})
        self.assertEqual(broken(scene.deliver(2, 2)), set())

    def test_who_was_told_that_it_is_not_recovered_has_no_right_to_what_was_before(self):
        scene = sent(1).deliver(1, 1).lost().publish(2).ack(2).connected(resumed=False)
        scene.subscribe(recovered=False, reason="retention")
        self.assertEqual(broken(scene), set())
        self.assertEqual(verdict(scene)["excused"], 1)
        self.assertFalse(verdict(scene, strict=True)["ok"])
        self.assertEqual(broken(scene.publish(3).ack(3)), {"acked_lost"})

    def test_an_announced_loss_takes_the_right_to_what_was_before(self):
        scene = sent(1, 2).position(2, epoch=1, offset=2)
        scene.publish(3).ack(3).deliver(3, 3)
        self.assertEqual(broken(scene), set())
        self.assertEqual(verdict(scene)["announced_skips"], 2)

    def test_an_announcement_of_nothing_takes_no_right(self):
        scene = sent(1).position(0, "lineage", epoch=2, offset=0).publish(2).ack(2).deliver(2, 1, 2)
        self.assertEqual(broken(scene), {"acked_lost"})

    def test_a_channel_without_subscribers_proves_nothing_and_is_counted(self):
        scene = sent(1).deliver(1, 1).publish(2, channel="class.c2").ack(2)
        self.assertEqual((broken(scene), verdict(scene)["unwatched"]), (set(), 1))

    def test_strict_holds_when_nobody_was_excused(self):
        self.assertTrue(verdict(sent(1).deliver(1, 1), strict=True)["ok"])


class JournalLost(unittest.TestCase):
    """A node and its disk that never came back."""

    def scene(self) -> Scene:
        """Its publisher is gone, and the last event with it."""
        return sent(1, 2).deliver(1, 1).lost("p")

    def test_a_local_ack_of_a_client_that_is_gone_may_be_lost_with_the_disk(self):
        self.assertEqual(broken(self.scene()), {"acked_lost"})
        self.assertEqual(broken(self.scene(), journal_lost=True), set())

    def test_not_when_its_publisher_came_back_to_send_it_again(self):
        self.assertEqual(broken(self.scene().connected("p"), journal_lost=True), {"acked_lost"})

    def test_not_when_it_was_replicated_or_settled(self):
        replicated = self.scene().ack(2, "replicated")
        self.assertEqual(broken(replicated, journal_lost=True), {"acked_lost"})
        settled = self.scene().settle(2)
        self.assertEqual(broken(settled, journal_lost=True), {"acked_lost", "settled_lost"})


class Settled(unittest.TestCase):
    """`settled_lost`."""

    def test_what_is_settled_and_came_holds(self):
        self.assertEqual(broken(sent(1).settle(1).deliver(1, 1)), set())

    def test_a_settled_event_that_nobody_got_is_caught_also_without_an_ack(self):
        scene = sent(1).deliver(1, 1).publish(2).settle(2)
        self.assertEqual(broken(scene), {"settled_lost"})

    def test_only_earlier_events_of_this_client_and_class_are_settled(self):
        scene = sent(1).deliver(1, 1)
        scene.publish(2).publish(3, "q").publish(4, klass=3, channel="report.i.x")
        scene.settle(9, "q", 1).settle(1).settle(9, "p", 0).subscribe(channel="report.i.x")
        self.assertEqual(broken(scene), {"settled_lost"})
        self.assertEqual(verdict(scene)["settled"], 2)
        self.assertEqual(verdict(scene)["examples"][0]["id"], 3)

    def test_what_is_published_after_the_mark_is_not_settled_by_it(self):
        self.assertEqual(broken(sent(1).deliver(1, 1).settle(9).publish(2)), set())

    def test_a_refused_event_is_not_settled(self):
        scene = sent(1).deliver(1, 1).publish(2).refuse(2).settle(2)
        self.assertEqual(broken(scene), set())
        self.assertEqual((verdict(scene)["refused"], verdict(scene)["unanswered"]), (1, 0))


if __name__ == "__main__":
    unittest.main()
