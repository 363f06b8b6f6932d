"""Parts are chosen, described and placed without meeting each other."""

import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from interlink_stand import commands, limits, parts  # noqa: E402
from interlink_stand.errors import StandError  # noqa: E402

STAND = {
    "redis": {
        "single": {"name": "redis", "pid": 1},
        "cluster": {"nodes": [{"name": "redis-cluster-1", "pid": 2}]},
    },
    "kafka": {"brokers": [{"name": "kafka-1", "pid": 3}]},
}


class PartsTest(unittest.TestCase):
    """What the command line means."""

    def test_all_parts_of_the_check_run_start_without_names(self):
        redis = ["redis", "redis-sentinel", "redis-sentinel-tls", "redis-cluster"]
        self.assertEqual(parts.chosen([]), [*redis, "kafka", "postgres"])

    def test_an_unknown_part_is_named(self):
        with self.assertRaisesRegex(StandError, "no part is called redid"):
            parts.chosen(["redis", "redid"])

    def test_one_broker_and_three_exclude_each_other(self):
        with self.assertRaisesRegex(StandError, "same ports"):
            parts.chosen(["kafka", "kafka3"])

    def test_descriptions_of_parts_are_joined(self):
        joined = parts.merge({"redis": {"single": 1}}, {"redis": {"cluster": 2}, "kafka": 3})
        self.assertEqual(joined, {"redis": {"single": 1, "cluster": 2}, "kafka": 3})

    def test_a_part_is_taken_out_alone(self):
        left = parts.without({"redis": {"single": 1, "cluster": 2}}, "redis")
        self.assertEqual(left, {"redis": {"cluster": 2}})
        self.assertEqual(parts.without(left, "redis-cluster"), {})
        self.assertEqual(parts.without({}, "postgres"), {})

    def test_a_restarted_server_gets_its_new_id_and_no_other(self):
        stand = {"redis": STAND["redis"].copy(), "kafka": {"brokers": [{"name": "k", "pid": 3}]}}
        parts.set_pid(stand, "k", 9)
        self.assertEqual(stand["kafka"]["brokers"][0]["pid"], 9)
        self.assertEqual(stand["redis"]["single"]["pid"], 1)

    def test_ports_of_parts_do_not_meet_unless_one_replaces_the_other(self):
        for one, own in parts.OWN.items():
            for other, place in parts.OWN.items():
                shared = set(parts.ports(one, 6700)) & set(parts.ports(other, 6700))
                self.assertEqual(bool(shared), own == place, f"{one} and {other}")

    def test_ports_above_the_limit_are_refused(self):
        for base in (80, limits.PORT_MAX + 2 - limits.PORTS):
            with self.assertRaises(StandError):
                commands.check_ports(base)
        commands.check_ports(limits.PORT_MAX + 1 - limits.PORTS)


if __name__ == "__main__":
    unittest.main()
