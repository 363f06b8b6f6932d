"""Programs of the stand: how they start, how one knows them again, and how they end.

A process is known by its id and the moment of its start, in ticks since the machine's boot, so
that another process that got the same id later is never touched. A program that was started but
not yet recorded when the stand was killed is found by its working folder, which lies inside the
stand's, and by its name.
"""

import dataclasses
import os
import pathlib
import pwd
import signal
import subprocess
import time

from . import limits
from .errors import StandError

PROGRAMS = {"redis-server", "redis-check-rdb", "java", "postgres"}
"""Names of the servers' files; Debian's redis-server is a link to redis-check-rdb."""


@dataclasses.dataclass
class Process:
    """A server of the stand."""

    name: str
    part: str
    command: list[str]
    folder: str
    log: str
    address: str
    kind: str
    user: str | None = None
    core: str | None = None
    tls: dict | None = None
    """How the stand itself asks it, when not in the clear."""
    stop_signal: int = signal.SIGTERM
    pid: int = 0
    started: int = 0

    def is_alive(self) -> bool:
        """Whether this very process runs."""
        return self.pid > 0 and start_ticks(self.pid) == self.started

    def start(self) -> None:
        """Starts the program; it outlives the one who starts it."""
        command = list(self.command)
        if self.core is not None:
            command = ["taskset", "--cpu-list", self.core, *command]
        with open(self.log, "ab") as log:
            try:
                child = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    **identity(self.user),
                )
            except OSError as error:
                raise StandError(f"{self.name} did not start: {error}") from error
        self.pid = child.pid
        self.started = start_ticks(child.pid) or 0
        # Its end is seen in /proc; the child is reaped when this program ends, or by poll.
        _children.append(child)

    def check(self) -> None:
        """Raises with the end of the log when the process has ended."""
        reap()
        if not self.is_alive():
            raise StandError(f"{self.name} has ended; the end of {self.log} says:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of the log."""
        try:
            text = pathlib.Path(self.log).read_text(errors="replace")
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join("    " + line for line in text.splitlines()[-limits.LOG_LINES :])


_children: list[subprocess.Popen] = []


def reap() -> None:
    """Takes the exit codes of children that have ended, so that none stays as a zombie."""
    for child in list(_children):
        if child.poll() is not None:
            _children.remove(child)


def identity(user: str | None) -> dict:
    """Options of Popen that make the program run as a user."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def start_ticks(pid: int) -> int | None:
    """When a process started, in ticks since boot; nothing when it is gone or a zombie."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in parentheses and may hold any character.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def strays(folders: list[pathlib.Path]) -> list[int]:
    """Ids of servers that work inside one of the folders, recorded or not."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            place = pathlib.Path(os.readlink(entry / "cwd").removesuffix(" (deleted)"))
            program = os.path.basename(os.readlink(entry / "exe").removesuffix(" (deleted)"))
        except OSError:
            continue
        inside = any(place == folder or folder in place.parents for folder in folders)
        if inside and program in PROGRAMS:
            found.append(int(entry.name))
    return found


def stop(processes: list[Process], seconds: float = limits.STOP_S) -> list[str]:
    """Ends processes together, by their signal and then by force; returns who was killed."""
    alive = [process for process in processes if process.is_alive()]
    for process in alive:
        # One that was stopped takes no signal but SIGKILL before it goes on.
        send(process.pid, process.stop_signal)
        send(process.pid, signal.SIGCONT)
    alive = remaining(alive, seconds)
    killed = [process.name for process in alive]
    for process in alive:
        send(process.pid, signal.SIGKILL)
    left = remaining(alive, limits.KILLED_S)
    if left:
        names = ", ".join(f"{process.name} (pid {process.pid})" for process in left)
        raise StandError(f"{names} cannot be killed; the kernel holds them, see their state in ps")
    return killed


def end_strays(folders: list[pathlib.Path]) -> int:
    """Kills servers inside the folders; returns how many there were."""
    pids = {pid: start_ticks(pid) for pid in strays(folders)}
    for pid in pids:
        send(pid, signal.SIGKILL)
    deadline = time.monotonic() + limits.KILLED_S
    while any(ticks is not None and start_ticks(pid) == ticks for pid, ticks in pids.items()):
        if time.monotonic() > deadline:
            raise StandError(f"processes {sorted(pids)} cannot be killed; see their state in ps")
        reap()
        time.sleep(limits.POLL_FIRST_S)
    return len(pids)


def remaining(processes: list[Process], seconds: float) -> list[Process]:
    """Waits until the processes are gone; returns those that are not."""
    deadline = time.monotonic() + seconds
    while True:
        reap()
        processes = [process for process in processes if process.is_alive()]
        if not processes or time.monotonic() > deadline:
            return processes
        time.sleep(limits.POLL_FIRST_S)


def send(pid: int, number: int) -> None:
    """Sends a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def run(command: list[str], what: str, **options) -> str:
    """Runs a program that prepares something and returns its output."""
    options = {"timeout": limits.COMMAND_S, **options}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            **options,
        )
    except FileNotFoundError as error:
        raise StandError(f"{what} failed: {command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise StandError(f"{what} took more than {options['timeout']} s and was ended") from error
    if done.returncode != 0:
        lines = "\n".join("    " + line for line in done.stdout.splitlines()[-limits.LOG_LINES :])
        raise StandError(f"{what} failed with code {done.returncode}:\n{lines}")
    return done.stdout
