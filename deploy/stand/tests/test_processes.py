"""Processes are known again, and only they are ended."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from interlink_stand import processes  # noqa: E402
from interlink_stand.errors import StandError  # noqa: E402


class ProcessesTest(unittest.TestCase):
    """Each test has a folder, and a program in it that waits forever under a server's name."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.program = self.folder / "redis-server"
        shutil.copy(shutil.which("tail"), self.program)

    def started(self, name="server") -> processes.Process:
        """A running process."""
        process = processes.Process(
            name=name,
            part="redis",
            command=[str(self.program), "--follow", "/dev/null"],
            folder=str(self.folder),
            log=str(self.folder / "log"),
            address="127.0.0.1:1",
            kind="redis",
        )
        process.start()
        self.addCleanup(processes.send, process.pid, signal.SIGKILL)
        return process

    def test_a_process_is_alive_until_it_is_stopped(self):
        process = self.started()
        self.assertTrue(process.is_alive())
        self.assertEqual(processes.stop([process]), [])
        self.assertFalse(process.is_alive())

    def test_a_process_with_the_same_id_and_another_start_is_not_touched(self):
        process = self.started()
        stranger = processes.Process(**{**vars(process), "started": process.started - 1})
        self.assertFalse(stranger.is_alive())
        processes.stop([stranger])
        self.assertTrue(process.is_alive())

    def test_a_paused_process_is_stopped_too(self):
        process = self.started()
        os.kill(process.pid, signal.SIGSTOP)
        processes.stop([process])
        self.assertFalse(process.is_alive())

    def test_a_process_that_ignores_its_signal_is_killed_and_named(self):
        process = self.started()
        process.stop_signal = signal.SIGURG
        self.assertEqual(processes.stop([process], seconds=0.1), ["server"])
        self.assertFalse(process.is_alive())

    def test_a_zombie_is_not_alive(self):
        child = subprocess.Popen(["true"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.assertIsNone(processes.start_ticks(child.pid))
        child.wait()

    def test_an_unrecorded_server_is_found_by_its_folder(self):
        process = self.started()
        self.assertEqual(processes.strays([self.folder]), [process.pid])
        self.assertEqual(processes.end_strays([self.folder]), 1)
        self.assertFalse(process.is_alive())

    def test_other_programs_inside_the_folder_are_left_alone(self):
        self.program = self.folder / "editor"
        shutil.copy(shutil.which("tail"), self.program)
        process = self.started()
        self.assertEqual(processes.end_strays([self.folder]), 0)
        self.assertTrue(process.is_alive())

    def test_servers_of_a_folder_with_a_longer_name_are_left_alone(self):
        self.started()
        self.assertEqual(processes.strays([pathlib.Path(str(self.folder)[:-1])]), [])

    def test_the_end_of_the_log_is_in_the_error(self):
        process = self.started()
        pathlib.Path(process.log).write_text("the cause\n")
        processes.stop([process])
        with self.assertRaisesRegex(StandError, "the cause"):
            process.check()

    def test_a_core_is_the_only_one_used(self):
        process = processes.Process(**{**vars(self.started()), "core": "0"})
        process.start()
        self.addCleanup(processes.send, process.pid, signal.SIGKILL)
        # taskset sets the affinity before it becomes the program.
        status = pathlib.Path(f"/proc/{process.pid}")
        while os.path.basename(os.readlink(status / "exe")) != "redis-server":
            process.check()
        self.assertEqual(os.sched_getaffinity(process.pid), {0})

    def test_a_failed_program_is_quoted(self):
        with self.assertRaisesRegex(StandError, "(?s)listing failed with code 2:.*nothing-here"):
            processes.run(["ls", "nothing-here"], "listing")


if __name__ == "__main__":
    unittest.main()
