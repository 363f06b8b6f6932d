"""Redis of the stand fails over by itself when a master is killed."""

import os
import signal
import unittest

from live import LiveCase

from interlink_stand import limits, redis_cluster, redis_sentinel, resp
from interlink_stand.waiting import NotYet, until


class Sentinel(LiveCase):
    """A master, two replicas, three Sentinels."""

    PARTS = ["redis-sentinel"]

    def master(self) -> str:
        """The address that the first Sentinel names."""
        sentinel = self.stand()["redis"]["sentinel"]
        asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinel["master"]]
        return ":".join(resp.ask(sentinel["sentinels"][0]["address"], *asked))

    def test_a_replica_is_promoted_and_the_old_master_follows_it(self):
        old = self.master()
        nodes = self.stand()["redis"]["sentinel"]["nodes"]
        resp.ask(old, "SET", "kept", "yes")
        self.assertEqual(resp.ask(old, "WAIT", 2, 5000), 2)
        os.kill(next(node["pid"] for node in nodes if node["address"] == old), signal.SIGKILL)
        seconds = limits.SENTINEL_READY_S
        until("a new master", seconds, lambda: self.master() != old)
        new = self.master()
        until("its role", seconds, lambda: resp.info(new, "replication")["role"] == "master")
        self.assertEqual(resp.ask(new, "GET", "kept"), "yes")
        self.assertEqual(self.command("start"), 0)
        until("the old one", seconds, lambda: resp.info(old, "replication")["role"] == "slave")

    def test_a_master_without_replicas_refuses_writes(self):
        master = self.master()
        nodes = self.stand()["redis"]["sentinel"]["nodes"]
        others = [node["pid"] for node in nodes if node["address"] != master]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            until("refusal", limits.SENTINEL_READY_S, lambda: self.refuses(master))
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)
        until("replicas", limits.SENTINEL_READY_S, lambda: not self.refuses(master))

    def refuses(self, master: str) -> bool:
        """Whether a write is refused for want of replicas."""
        try:
            return resp.ask(master, "SET", "alone", "x") != "OK"
        except NotYet as error:
            return str(error).startswith("NOREPLICAS")


class SecureSentinel(LiveCase):
    """The same with TLS only, and a password."""

    PARTS = ["redis-sentinel-tls"]

    def test_a_replica_is_promoted_by_tls(self):
        sentinel = self.stand()["redis"]["sentinel_tls"]
        tls = sentinel["tls"]
        asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinel["master"]]
        first = sentinel["sentinels"][0]["address"]
        authorities = {"authorities": tls["authorities"]}

        def master() -> str:
            return ":".join(resp.ask(first, *asked, tls=authorities))

        old = master()
        self.assertEqual(resp.ask(old, "SET", "kept", "yes", tls=tls), "OK")
        self.assertEqual(resp.ask(old, "WAIT", 2, 5000, tls=tls), 2)
        for node in sentinel["nodes"]:
            if node["address"] == old:
                os.kill(node["pid"], signal.SIGKILL)
        seconds = limits.SENTINEL_READY_S
        until("a new master", seconds, lambda: master() != old)
        new = master()
        until("it", seconds, lambda: resp.ask(new, "GET", "kept", tls=tls) == "yes")
        self.assertEqual(self.command("start"), 0)
        facts = {}

        def follows() -> bool:
            facts.update(resp.info(old, "replication", tls))
            return facts["role"] == "slave" and facts["master_link_status"] == "up"

        until("the old one", seconds, follows)

    def test_nobody_is_let_in_without_the_password_or_in_the_clear(self):
        node = self.stand()["redis"]["sentinel_tls"]["nodes"][0]
        authorities = {"authorities": node["tls"]["authorities"]}
        with self.assertRaisesRegex(NotYet, "NOAUTH"):
            resp.ask(node["address"], "PING", tls=authorities)
        with self.assertRaises((OSError, NotYet)):
            resp.ask(node["address"], "PING")


class Cluster(LiveCase):
    """Three masters with a replica each."""

    PARTS = ["redis-cluster"]

    def test_a_replica_takes_over_its_masters_slots(self):
        nodes = self.stand()["redis"]["cluster"]["nodes"]
        os.kill(nodes[0]["pid"], signal.SIGKILL)
        replica = nodes[redis_cluster.MASTERS]["address"]
        seconds = limits.CLUSTER_READY_S
        until("take-over", seconds, lambda: resp.info(replica, "replication")["role"] == "master")
        self.assertEqual(self.command("start"), 0)
        for node in nodes:
            until(node["name"], seconds, lambda: redis_cluster.is_whole(node["address"]))

    def test_clients_find_addresses_of_their_own_kind(self):
        nodes = self.stand()["redis"]["cluster"]["nodes"]
        slots = resp.ask(nodes[1]["address"], "CLUSTER", "SLOTS")
        ports = {entry[2][1] for entry in slots}
        self.assertLessEqual(ports, {int(node["address"].rpartition(":")[2]) for node in nodes})


class Limits(unittest.TestCase):
    """What the parts promise."""

    def test_failover_is_decided_by_a_majority(self):
        self.assertGreater(2 * redis_sentinel.QUORUM, redis_sentinel.SENTINELS)


if __name__ == "__main__":
    unittest.main()
