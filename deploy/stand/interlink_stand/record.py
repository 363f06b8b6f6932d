"""What the stand keeps in its folder.

`processes.json` is written after every start, before anybody waits for the server, so that `down`
finds it whatever happened. `stand.json` is for clients; it exists only while every part is ready,
and is replaced by renaming. `lock` keeps two commands apart.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import secrets
import shutil
import tempfile
import time

from . import limits
from .errors import StandError
from .processes import Process


class Folder:
    """A stand's folder."""

    def __init__(self, path: pathlib.Path):
        self.path = path.resolve()
        self.processes_file = self.path / "processes.json"
        self.stand_file = self.path / "stand.json"
        self.secrets = self.path / "secrets"

    def locked(self):
        """Holds the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path)

    def part(self, name: str) -> pathlib.Path:
        """An empty folder for the data of a part."""
        path = self.path / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def outside(self) -> pathlib.Path:
        """Where data lies that another user must reach, when this folder is closed to others."""
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        return pathlib.Path(tempfile.gettempdir()) / f"interlink-stand-{digest}"

    def is_open_to_others(self) -> bool:
        """Whether another user can pass through every folder above."""
        folders = [self.path, *self.path.parents]
        return all(folder.stat().st_mode & 0o001 for folder in folders if folder.exists())

    def places(self) -> list[pathlib.Path]:
        """Every folder in which servers of this stand work."""
        return [self.path, self.outside()]

    def secret(self, name: str) -> tuple[str, str]:
        """A password and the file that holds it, made at first use."""
        self.secrets.mkdir(mode=0o700, exist_ok=True)
        file = self.secrets / name
        if not file.exists():
            with open(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600), "w") as out:
                out.write(secrets.token_urlsafe(24))
        return file.read_text(), str(file)

    def processes(self) -> list[Process]:
        """Everything that was started and not stopped."""
        try:
            entries = json.loads(self.processes_file.read_text())
            return [Process(**entry) for entry in entries]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise StandError(
                f"{self.processes_file} cannot be read ({error}); remove it and run `down`, which "
                "finds the servers by their folders"
            ) from error

    def write_processes(self, processes: list[Process]) -> None:
        """Replaces the list."""
        entries = [dataclasses.asdict(process) for process in processes]
        replace(self.processes_file, entries)

    def add(self, process: Process) -> None:
        """Starts a process and records it, in the place that it had."""
        known = {other.name: other for other in self.processes()}
        process.start()
        known[process.name] = process
        self.write_processes(list(known.values()))

    def stand(self) -> dict:
        """What clients see, or nothing."""
        try:
            return json.loads(self.stand_file.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def write_stand(self, description: dict) -> None:
        """Tells clients that everything in it is ready."""
        replace(self.stand_file, description)

    def remove(self) -> None:
        """Removes all but the lock, which a waiting command may hold open."""
        self.stand_file.unlink(missing_ok=True)
        for entry in self.path.iterdir() if self.path.exists() else []:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != "lock":
                entry.unlink(missing_ok=True)
        shutil.rmtree(self.outside(), ignore_errors=True)


@contextlib.contextmanager
def locked(folder: pathlib.Path):
    """Keeps other commands away from a folder; the kernel frees it when the holder dies."""
    with open(folder / "lock", "w") as file:
        deadline = time.monotonic() + limits.LOCK_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StandError(
                        f"another command works in {folder} for {limits.LOCK_S} s; end it"
                    ) from None
                time.sleep(limits.POLL_MAX_S)
        yield


def replace(file: pathlib.Path, value: object) -> None:
    """Writes a JSON file so that a reader sees the old or the new one."""
    fresh = file.with_suffix(".fresh")
    fresh.write_text(json.dumps(value, indent=2) + "\n")
    fresh.rename(file)
