"""Rules about what came: order, repeats, gaps and positions."""

import unittest

from scenes import Scene, broken, sent, verdict


class Order(unittest.TestCase):
    """`order_violations`."""

    def test_the_order_of_one_publisher_is_kept(self):
        self.assertEqual(broken(sent(1, 2).deliver(2, 1).deliver(1, 2)), {"order_violations"})

    def test_publishers_may_overtake_each_other(self):
        scene = Scene().subscribe().publish(1, "p").publish(2, "q").ack(1)
        self.assertEqual(broken(scene.deliver(2, 1).deliver(1, 2)), set())

    def test_one_key_through_two_clients_is_one_order(self):
        scene = Scene().subscribe().publish(1, "p", key="k").publish(2, "q", key="k").ack(1)
        self.assertEqual(broken(scene.deliver(2, 1).deliver(1, 2)), {"order_violations"})

    def test_channels_have_no_common_order(self):
        scene = Scene().subscribe().subscribe(channel="class.c2")
        scene.publish(1).publish(2, channel="class.c2").ack(1)
        scene.deliver(2, 1, channel="class.c2").deliver(1, 1)
        self.assertEqual(broken(scene), set())

    def test_order_holds_across_an_unrecovered_resume(self):
        scene = sent(1, 2).deliver(2, 2).lost().connected(resumed=False)
        scene.subscribe(recovered=False, reason="retention").deliver(1, 3)
        self.assertEqual(broken(scene), {"order_violations"})


class Duplicates(unittest.TestCase):
    """`duplicates_in_session`."""

    def test_a_repeat_in_one_session_is_caught(self):
        scene = sent(1).deliver(1, 1)
        self.assertEqual(broken(scene.deliver(1, 1)), {"duplicates_in_session"})

    def test_a_repeat_under_a_new_position_is_caught(self):
        self.assertEqual(broken(sent(1).deliver(1, 1).deliver(1, 2)), {"duplicates_in_session"})

    def test_a_resumed_session_is_the_same(self):
        scene = sent(1).deliver(1, 1).lost().connected().subscribe(reason="none").deliver(1, 1)
        self.assertEqual(broken(scene), {"duplicates_in_session"})

    def test_a_new_session_may_repeat_and_is_counted(self):
        scene = sent(1).deliver(1, 1).lost().connected(resumed=False)
        scene.subscribe(reason="none").deliver(1, 1)
        self.assertEqual((broken(scene), verdict(scene)["repeats_across_sessions"]), (set(), 1))

    def test_after_a_repeat_the_stream_goes_on_where_it_was(self):
        scene = sent(1, 2, 3).deliver(1, 1).deliver(2, 2).connected(resumed=False)
        scene.deliver(1, 1).deliver(3, 3)
        self.assertEqual(broken(scene), set())

    def test_two_subscribers_may_get_the_same_event(self):
        scene = Scene().subscribe("s").subscribe("r").publish(1).ack(1)
        self.assertEqual(broken(scene.deliver(1, 1).deliver(1, 1, client="r")), set())


class Gaps(unittest.TestCase):
    """`unreported_gaps`."""

    def test_a_stream_may_begin_anywhere(self):
        self.assertEqual(broken(sent(1, 2).deliver(1, 70).deliver(2, 71)), set())

    def test_a_jump_is_a_gap(self):
        self.assertEqual(broken(sent(1, 2).deliver(1, 1).deliver(2, 3)), {"unreported_gaps"})

    def test_a_jump_over_a_recovered_resume_is_a_gap(self):
        scene = sent(1, 2).deliver(1, 1).lost().connected().subscribe(reason="none").deliver(2, 3)
        self.assertEqual(broken(scene), {"unreported_gaps"})

    def test_a_jump_over_an_unrecovered_resume_is_none(self):
        scene = sent(1, 2).deliver(1, 1).lost().connected()
        scene.subscribe(recovered=False, reason="retention").deliver(2, 3)
        self.assertEqual(broken(scene), set())

    def test_a_subscription_that_is_made_again_begins_anywhere(self):
        scene = sent(1, 2).deliver(1, 1).subscribe().publish(3).ack(3).deliver(3, 3)
        self.assertEqual(broken(scene), set())
        self.assertEqual(verdict(scene)["excused"], 1)

    def test_a_jump_that_was_announced_with_its_count_is_none(self):
        scene = sent(1, 2).deliver(1, 1).position(3, epoch=1, offset=4).deliver(2, 5)
        self.assertEqual(broken(scene), set())

    def test_an_announcement_without_a_position_covers_its_count_once(self):
        scene = sent(1, 2, 3).deliver(1, 1).position(3).deliver(2, 5)
        self.assertEqual(broken(scene), set())
        self.assertEqual(broken(scene.deliver(3, 7)), {"unreported_gaps"})

    def test_an_announcement_that_counts_less_than_it_skips_is_caught(self):
        scene = sent(1, 2).deliver(1, 1).position(2, epoch=1, offset=4).deliver(2, 5)
        self.assertEqual(broken(scene), {"unreported_gaps"})

    def test_a_new_epoch_hides_no_offsets_that_are_not_counted(self):
        for reason in ("slow", "lineage"):
            scene = sent(1, 2).deliver(1, 1).position(2, reason, epoch=2, offset=4)
            self.assertEqual(broken(scene.deliver(2, 5, epoch=2)), {"unreported_gaps"})
            scene = sent(1, 2).deliver(1, 1).position(3, reason, epoch=2, offset=4)
            self.assertEqual(broken(scene.deliver(2, 5, epoch=2)), set())

    def test_events_that_stand_again_at_new_positions_are_jumped_over_with_a_word(self):
        scene = sent(1, 2).deliver(1, 1).position(0, "lineage", epoch=1, offset=4).deliver(2, 5)
        self.assertEqual(broken(scene), set())
        scene = sent(1, 2).deliver(1, 1).position(0, "slow", epoch=1, offset=4).deliver(2, 5)
        self.assertEqual(broken(scene), {"unreported_gaps"})

    def test_what_is_jumped_over_with_a_word_and_did_not_come_is_lost(self):
        scene = sent(1, 2, 3).deliver(1, 1).position(0, "lineage", epoch=1, offset=2).deliver(3, 3)
        self.assertIn("acked_lost", broken(scene))

    def test_conflation_counts_by_key_and_is_not_held_to_offsets(self):
        scene = sent(1, 2).deliver(1, 1).position(2, "conflated", epoch=1, offset=4).deliver(2, 5)
        self.assertEqual(broken(scene), set())

    def test_what_the_client_found_out_itself_was_not_reported(self):
        scene = sent(1, 2).deliver(1, 1).position(1, "unannounced", epoch=1, offset=2)
        self.assertEqual(broken(scene.deliver(2, 3)), {"unreported_gaps"})

    def test_a_new_epoch_must_be_announced(self):
        scene = sent(1, 2).deliver(1, 1)
        self.assertEqual(broken(scene.deliver(2, 2, epoch=2)), {"unreported_gaps"})
        scene = sent(1, 2).deliver(1, 1).position(0, "lineage", epoch=2, offset=1)
        self.assertEqual(broken(scene.deliver(2, 2, epoch=2)), set())
        scene = sent(1, 2).deliver(1, 1).position(0, "lineage")
        self.assertEqual(broken(scene.deliver(2, 2, epoch=2)), set())

    def test_an_epoch_never_falls(self):
        scene = sent(1, 2).deliver(1, 1, epoch=2).position(0, "lineage", epoch=1, offset=1)
        self.assertEqual(broken(scene.deliver(2, 2)), {"unreported_gaps"})
        scene = sent(1, 2).deliver(1, 1, epoch=2).position(0, "lineage")
        self.assertEqual(broken(scene.deliver(2, 2)), {"unreported_gaps"})

    def test_offsets_that_are_given_out_again_in_one_epoch_are_caught(self):
        scene = sent(1, 2, 3).deliver(1, 1).deliver(2, 2).deliver(3, 2)
        self.assertEqual(broken(scene), {"unreported_gaps", "position_conflicts"})


class Positions(unittest.TestCase):
    """`position_conflicts` and `phantoms`."""

    def test_two_subscribers_must_see_one_event_at_one_position(self):
        scene = Scene().subscribe("s").subscribe("r").publish(1, "p").publish(2, "q").ack(1)
        scene.deliver(1, 1).deliver(2, 1, client="r").deliver(2, 2).deliver(1, 2, client="r")
        self.assertEqual(broken(scene), {"position_conflicts"})

    def test_the_same_offset_in_two_epochs_is_no_conflict(self):
        scene = sent(1, 2).deliver(1, 1).position(0, "lineage", epoch=2, offset=0)
        self.assertEqual(broken(scene.deliver(2, 1, epoch=2)), set())

    def test_an_event_that_nobody_published_is_a_phantom(self):
        self.assertEqual(broken(sent(1).deliver(1, 1).deliver(9, 2)), {"phantoms"})

    def test_an_event_on_another_channel_is_a_phantom(self):
        scene = sent(1).deliver(1, 1).deliver(1, 1, channel="class.c2")
        self.assertEqual(broken(scene), {"phantoms"})

    def test_an_event_that_comes_before_its_publish_is_a_phantom(self):
        scene = sent(1).deliver(1, 1).deliver(2, 2).publish(2)
        self.assertEqual(broken(scene), {"phantoms"})


if __name__ == "__main__":
    unittest.main()
