"""The command line: `install`, `up`, `start`, `status` and `down`."""

import argparse
import pathlib
import shutil
import socket
import sys

from . import install, limits, parts, processes
from .errors import StandError
from .record import Folder
from .waiting import until

DEFAULT = install.ROOT / "target" / "stand"

UP_EXAMPLES = """\
examples:
  deploy/stand/stand up
      everything but kafka3, which shares its ports with kafka
  deploy/stand/stand up redis kafka3 --core 1
      one Redis and three brokers, all on processor 1
  deploy/stand/stand up redis kafka --directory target/stand-eu --base-port 6800
      a second stand beside the first
"""


def main(arguments: list[str]) -> int:
    """Runs one command and returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except StandError as error:
        print(f"stand: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stand: interrupted; `down` ends what was started", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    top = argparse.ArgumentParser(prog="stand", description="Real servers for tests, on loopback.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, text: str, **more) -> argparse.ArgumentParser:
        raw = argparse.RawDescriptionHelpFormatter
        added = commands.add_parser(name, help=text, formatter_class=raw, **more)
        added.add_argument(
            "--directory",
            type=pathlib.Path,
            default=DEFAULT,
            help="where data, logs and stand.json lie (default: target/stand)",
        )
        added.set_defaults(run=run)
        return added

    text = "start parts afresh and wait until they are ready"
    added = command("up", up, text, epilog=UP_EXAMPLES)
    added.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts.PARTS))
    added.add_argument("--core", help="processors for all servers, as in `taskset --cpu-list`")
    port = f"first of {limits.PORTS} ports (default: {limits.BASE_PORT})"
    added.add_argument("--base-port", type=int, default=limits.BASE_PORT, help=port)
    text = "install what parts need, and fetch Kafka, without starting anything"
    added = command("install", fetch, text)
    added.add_argument("parts", nargs="*", metavar="PART", help="default: as for `up`")
    command("down", down, "stop everything and remove the folder's content")
    added = command("start", start, "start servers of the stand that have ended, with their data")
    added.add_argument("names", nargs="*", metavar="NAME", help="as in `status`; default: all")
    added = command("status", status, "show the servers; exit code 0 when all run, else 3")
    added.add_argument("--json", action="store_true", help="print stand.json instead")
    return top


def up(options: argparse.Namespace) -> int:
    """Starts parts; parts that run already are left alone."""
    wanted = parts.chosen(options.parts)
    check_ports(options.base_port)
    folder = Folder(options.directory)
    with folder.locked():
        missing = [part for part in wanted if not runs(folder, part)]
        install.programs(set(missing))
        description = folder.stand()
        # Clients find no stand while one of its parts is missing.
        folder.stand_file.unlink(missing_ok=True)
        try:
            for part in missing:
                clear(folder, part)
                description = parts.without(description, part)
                check_free(folder, options.base_port, part)
                print(f"starting {part}", flush=True)
                ready = parts.PARTS[part](folder, options.base_port, options.core)
                parts.merge(description, ready)
        except BaseException:
            for part in missing:
                clear(folder, part, seconds=1)
                description = parts.without(description, part)
            if any(process.is_alive() for process in folder.processes()):
                folder.write_stand(description)
            raise
        folder.write_stand(description)
        show(folder)
    print(f"ready: {folder.stand_file}")
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Brings what parts need onto the machine."""
    wanted = set(parts.chosen(options.parts))
    install.programs(wanted)
    if wanted & {"kafka", "kafka3"}:
        install.kafka_libraries()
    return 0


def runs(folder: Folder, part: str) -> bool:
    """Whether every server of a part runs and clients know of it."""
    own = [process for process in folder.processes() if process.part == part]
    place: object = folder.stand()
    for key in parts.OWN[part]:
        place = place.get(key) if isinstance(place, dict) else None
    return bool(own) and bool(place) and all(process.is_alive() for process in own)


def clear(folder: Folder, part: str, seconds: float = limits.STOP_S) -> None:
    """Ends what is left of a part, and of the other of two that share their ports."""
    same = {name for name, place in parts.OWN.items() if place == parts.OWN[part]}
    own = [process for process in folder.processes() if process.part in same]
    processes.stop(own, seconds)
    processes.end_strays([pathlib.Path(process.folder) for process in own])
    others = [process for process in folder.processes() if process.part not in same]
    folder.write_processes(others)


def check_ports(base: int) -> None:
    """Refuses ports that outgoing connections use."""
    if not 1024 <= base <= limits.PORT_MAX + 1 - limits.PORTS:
        highest = limits.PORT_MAX + 1 - limits.PORTS
        raise StandError(f"--base-port {base} is not between 1024 and {highest}")


def check_free(folder: Folder, base: int, part: str) -> None:
    """Says which port of a part is taken by somebody else, before a server fails over it."""
    recorded = {process.address for process in folder.processes() if process.is_alive()}
    for port in parts.ports(part, base):
        if f"127.0.0.1:{port}" in recorded:
            raise StandError(f"port {port} is used by another part; run `down` first")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise StandError(
                    f"port {port} is taken by a process outside {folder.path} ({error}); end it, "
                    "or choose another --base-port"
                ) from error


def down(options: argparse.Namespace) -> int:
    """Stops everything, whatever state it is in."""
    folder = Folder(options.directory)
    if not folder.path.exists():
        print(f"no stand in {folder.path}")
        return 0
    with folder.locked():
        folder.stand_file.unlink(missing_ok=True)
        try:
            known = folder.processes()
        except StandError as error:
            # The list is damaged; servers are found by their folders.
            print(f"stand: {error}", file=sys.stderr)
            known = []
        count = sum(process.is_alive() for process in known)
        killed = processes.stop(known)
        strays = processes.end_strays(folder.places())
        folder.remove()
    print(f"stopped {count} servers" + (f", {strays} unrecorded ones" if strays else ""))
    if killed:
        print(f"killed after {limits.STOP_S} s: {', '.join(killed)}")
    return 0


def start(options: argparse.Namespace) -> int:
    """Starts servers that have ended, with the data that they had."""
    folder = Folder(options.directory)
    with folder.locked():
        known = folder.processes()
        names = [process.name for process in known]
        unknown = [name for name in options.names if name not in names]
        if not known:
            raise StandError(f"no stand in {folder.path}; start one with deploy/stand/stand up")
        if unknown:
            raise StandError(f"no server is called {', '.join(unknown)}; `status` lists them")
        wanted = options.names or names
        ended = [each for each in known if each.name in wanted and not each.is_alive()]
        for process in ended:
            # A killed PostgreSQL leaves children and its lock file behind.
            processes.end_strays([pathlib.Path(process.folder)])
            folder.add(process)
        description = folder.stand()
        for process in ended:
            seconds = limits.KAFKA_READY_S
            until(process.name, seconds, lambda: parts.answers(process), process.check)
            parts.set_pid(description, process.name, process.pid)
        if description:
            folder.write_stand(description)
        print(f"started {', '.join(each.name for each in ended) or 'nothing: all run'}")
    return 0


def status(options: argparse.Namespace) -> int:
    """Shows what runs."""
    folder = Folder(options.directory)
    if options.json:
        if not folder.stand_file.exists():
            raise StandError(f"{folder.stand_file} does not exist; run deploy/stand/stand up")
        shutil.copyfileobj(open(folder.stand_file), sys.stdout)
        return 0
    known = folder.processes()
    if not known:
        print(f"no stand in {folder.path}; start one with deploy/stand/stand up")
        return 3
    show(folder)
    return 0 if all(process.is_alive() for process in known) else 3


def show(folder: Folder) -> None:
    """Prints one line for each server."""
    for process in folder.processes():
        state = f"pid {process.pid}" if process.is_alive() else "ended"
        print(f"{process.name:18} {process.address:18} {state:12} {process.log}")
