"""What cannot be had is an error that says what to do."""

import os
import pathlib
import shutil
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from interlink_stand import install  # noqa: E402
from interlink_stand.errors import StandError  # noqa: E402


class KafkaLibrariesTest(unittest.TestCase):
    """Maven is a program of the test here: what is tested is what the stand does with it."""

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.place)
        clean = {key: value for key, value in os.environ.items() if key != install.OWN_LIBRARIES}
        patch = mock.patch.dict(os.environ, clean, clear=True)
        patch.start()
        self.addCleanup(patch.stop)

    def program(self, text: str) -> str:
        """A program that stands in for Maven."""
        path = self.place / "maven"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return str(path)

    def test_without_kafka_the_error_names_cause_and_cure(self):
        refuses = self.program("echo 'artifact not found'; exit 1\n")
        with self.assertRaises(StandError) as caught:
            install.kafka_libraries(refuses, self.place)
        message = str(caught.exception)
        for part in (install.pinned(), "artifact not found", install.OWN_LIBRARIES):
            self.assertIn(part, message)

    def test_a_maven_that_copies_nothing_is_an_error(self):
        with self.assertRaisesRegex(StandError, "copied no kafka"):
            install.kafka_libraries(self.program("exit 0\n"), self.place)

    def test_libraries_are_fetched_once(self):
        copies = """
        echo run >> "$(dirname "$0")/runs"
        for word; do case $word in -DoutputDirectory=*) folder=${word#*=} ;; esac; done
        mkdir -p "$folder" && touch "$folder/kafka_2.13-x.jar"
        """
        maven = self.program(copies)
        first = install.kafka_libraries(maven, self.place)
        self.assertEqual(install.kafka_libraries(maven, self.place), first)
        self.assertEqual((self.place / "runs").read_text(), "run\n")

    def test_libraries_that_were_half_fetched_are_fetched_again(self):
        folder = self.place / install.pinned()
        folder.mkdir()
        (folder / "kafka_2.13-half.jar").touch()
        with self.assertRaises(StandError):
            install.kafka_libraries(self.program("exit 1\n"), self.place)
        self.assertFalse(folder.exists())

    def test_own_libraries_are_used_and_checked(self):
        os.environ[install.OWN_LIBRARIES] = str(self.place)
        with self.assertRaisesRegex(StandError, "holds no kafka"):
            install.kafka_libraries()
        (self.place / "kafka_2.13-4.1.2.jar").touch()
        self.assertEqual(install.kafka_libraries(), self.place)


class ProgramsTest(unittest.TestCase):
    """Packages."""

    def test_without_root_the_command_is_named(self):
        with mock.patch("os.geteuid", return_value=1000):
            with self.assertRaisesRegex(StandError, "apt-get install .*redis-server"):
                install.install(["redis-server"])


if __name__ == "__main__":
    unittest.main()
