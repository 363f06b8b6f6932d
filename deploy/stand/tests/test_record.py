"""The stand's folder keeps what it must, and says when it is damaged."""

import pathlib
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from interlink_stand import commands  # noqa: E402
from interlink_stand.errors import StandError  # noqa: E402
from interlink_stand.processes import Process  # noqa: E402
from interlink_stand.record import Folder  # noqa: E402


class FolderTest(unittest.TestCase):
    """Each test has a folder of its own."""

    def setUp(self):
        self.path = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.path, ignore_errors=True)
        self.folder = Folder(self.path)

    def test_processes_are_read_as_they_were_written(self):
        process = Process("a", "redis", ["x"], "/", "/log", "127.0.0.1:1", "redis", pid=7)
        self.folder.write_processes([process])
        self.assertEqual(self.folder.processes(), [process])

    def test_a_damaged_list_is_an_error_that_names_the_cure(self):
        self.folder.processes_file.write_text('[{"name"')
        with self.assertRaisesRegex(StandError, "remove it and run `down`"):
            self.folder.processes()

    def test_down_works_with_a_damaged_list(self):
        self.folder.processes_file.write_text('[{"name"')
        self.assertEqual(commands.main(["down", "--directory", str(self.path)]), 0)
        self.assertEqual([entry.name for entry in self.path.iterdir()], ["lock"])

    def test_down_without_a_stand_is_no_error(self):
        self.assertEqual(commands.main(["down", "--directory", str(self.path / "none")]), 0)

    def test_a_secret_stays_and_only_the_owner_reads_it(self):
        first, file = self.folder.secret("redis")
        self.assertEqual(self.folder.secret("redis"), (first, file))
        self.assertGreaterEqual(len(first), 32)
        self.assertEqual(pathlib.Path(file).stat().st_mode & 0o777, 0o600)

    def test_a_description_that_was_cut_is_no_stand(self):
        self.folder.stand_file.write_text('{"redis"')
        self.assertEqual(self.folder.stand(), {})

    def test_a_closed_folder_above_is_seen(self):
        inner = self.path / "closed" / "stand"
        inner.mkdir(parents=True)
        inner.parent.chmod(0o700)
        self.assertFalse(Folder(inner).is_open_to_others())

    def test_status_tells_a_stand_from_none(self):
        where = ["--directory", str(self.path)]
        self.assertEqual(commands.main(["status", *where]), 3)
        self.assertEqual(commands.main(["status", "--json", *where]), 1)
        self.assertEqual(commands.main(["start", *where]), 1)


if __name__ == "__main__":
    unittest.main()
