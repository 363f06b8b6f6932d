"""The stand with real servers: one of each."""

import os
import pathlib
import signal
import socket
import subprocess
import unittest

from live import LiveCase, sasl_plain, secure

from interlink_stand import install, kafka_wire, processes, resp


class Running(LiveCase):
    """Redis, a broker and PostgreSQL."""

    PARTS = ["redis", "kafka", "postgres"]

    def psql(self, statement: str, **change: str) -> subprocess.CompletedProcess:
        """Runs a statement over TLS, with the name checked."""
        postgres = self.stand()["postgres"]
        host, _, port = postgres["tls"]["address"].rpartition(":")
        facts = {
            "host": host,
            "port": port,
            "user": postgres["user"],
            "dbname": postgres["database"],
            "password": postgres["password"],
            "sslmode": "verify-full",
            "sslrootcert": postgres["tls"]["authorities"],
            **change,
        }
        where = " ".join(f"{key}='{value}'" for key, value in facts.items())
        program = str(install.POSTGRES_PROGRAMS / "psql")
        command = [program, "--no-psqlrc", "-tAc", statement, where]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def test_redis_lets_its_user_in_by_tls_and_nobody_else(self):
        tls = self.stand()["redis"]["single"]["tls"]
        for password, wanted in ((tls["password"], b"+OK"), ("wrong", b"-WRONGPASS")):
            with secure(tls) as connection:
                connection.sendall(f"AUTH {tls['username']} {password}\r\n".encode())
                self.assertTrue(connection.recv(100).startswith(wanted), password)

    def test_kafka_lets_its_user_in_by_sasl_over_tls_and_nobody_else(self):
        tls = self.stand()["kafka"]["brokers"][0]["tls"]
        self.assertEqual(sasl_plain(tls, tls["password"]), 0)
        self.assertNotEqual(sasl_plain(tls, "wrong"), 0)

    def test_postgres_lets_its_user_in_by_tls_and_nobody_else(self):
        done = self.psql("SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        self.assertEqual(done.stdout.strip(), "interlink|t", done.stderr)
        self.assertNotEqual(self.psql("SELECT 1", password="wrong").returncode, 0)

    def test_the_user_of_postgres_is_no_superuser_and_owns_its_database(self):
        done = self.psql("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        self.assertEqual(done.stdout.strip(), "f", done.stderr)
        self.assertEqual(self.psql("CREATE SCHEMA owned").returncode, 0)

    def test_postgres_does_not_run_as_root(self):
        self.assertNotEqual(os.stat(f"/proc/{self.stand()['postgres']['pid']}").st_uid, 0)

    def test_the_broker_knows_itself(self):
        address = self.stand()["kafka"]["brokers"][0]["address"]
        self.assertEqual(kafka_wire.brokers(address), {1: address})

    def test_all_ports_are_below_the_range_of_outgoing_connections(self):
        for process in self.folder().processes():
            self.assertLess(int(process.address.rpartition(":")[2]), 10000)

    def test_parts_that_run_are_left_alone(self):
        before = self.stand()
        self.assertEqual(self.command("up", "redis", "--base-port", str(self.BASE)), 0)
        self.assertEqual(self.stand(), before)

    def test_a_killed_server_is_seen_and_started_with_its_data(self):
        address = self.stand()["redis"]["single"]["address"]
        resp.ask(address, "SET", "kept", "yes")
        self.psql("CREATE TABLE kept (number int); INSERT INTO kept VALUES (7)")
        for pid in (self.stand()["redis"]["single"]["pid"], self.stand()["postgres"]["pid"]):
            os.kill(pid, signal.SIGKILL)
        ended = [each for each in self.folder().processes() if each.name != "kafka-1"]
        processes.remaining(ended, 10)
        self.assertEqual(self.command("status"), 3)
        self.assertEqual(self.command("start"), 0)
        self.assertEqual(self.command("status"), 0)
        self.assertEqual(resp.ask(address, "GET", "kept"), "yes")
        self.assertEqual(self.psql("SELECT number FROM kept").stdout.strip(), "7")
        pids = {each.name: each.pid for each in self.folder().processes()}
        self.assertEqual(self.stand()["redis"]["single"]["pid"], pids["redis"])
        self.assertEqual(self.stand()["postgres"]["pid"], pids["postgres"])


class HalfDead(LiveCase):
    """What is left of a stand is always cleaned."""

    PARTS = ["redis"]

    def test_servers_that_nobody_recorded_are_ended_by_down(self):
        pid = self.stand()["redis"]["single"]["pid"]
        self.folder().processes_file.unlink()
        self.assertEqual(self.command("down"), 0)
        self.assertIsNone(processes.start_ticks(pid))
        self.assertEqual([entry.name for entry in self.path.iterdir()], ["lock"])
        self.assertEqual(self.command("up", "redis", "--base-port", str(self.BASE)), 0)

    def test_a_taken_port_is_named_and_nothing_else_suffers(self):
        before = self.stand()
        with socket.create_server(("127.0.0.1", self.BASE + 12)):
            where = ["--base-port", str(self.BASE)]
            self.assertEqual(self.command("up", "redis-sentinel", *where), 1)
        self.assertEqual(self.stand(), before)
        self.assertEqual(self.command("status"), 0)

    def test_a_server_that_cannot_start_says_why(self):
        program = pathlib.Path(self.path / "redis" / "redis.conf")
        text = program.read_text()
        os.kill(self.stand()["redis"]["single"]["pid"], signal.SIGKILL)
        processes.remaining(self.folder().processes(), 10)
        program.write_text(text + "no-such-setting yes\n")
        self.assertEqual(self.command("start"), 1)
        program.write_text(text)
        self.assertEqual(self.command("start"), 0)


if __name__ == "__main__":
    unittest.main()
