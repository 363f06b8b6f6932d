"""PostgreSQL 15: one server with a cluster directory of its own.

The server refuses to run as root, so that root runs it as the user `postgres` of the package.
Clients log in as `interlink`, who owns the database `interlink` and is no superuser; TLS is
offered at the same address. fsync stays on: the archive is tested as it is used.
"""

import os
import pathlib
import pwd
import shutil
import signal

from . import certificates, install, limits
from .processes import Process, identity, run
from .record import Folder
from .waiting import NotYet, until
from .errors import StandError

USER = "interlink"
DATABASE = "interlink"
ADMINISTRATOR = "postgres"


def up(folder: Folder, base: int, core: str | None) -> dict:
    """Makes the cluster directory, starts the server, and makes user and database."""
    port = base + 60
    user = "postgres" if os.geteuid() == 0 else None
    place = place_of_data(folder, user)
    data = place / "data"
    password, password_file = folder.secret("postgres")
    initialise(folder, place, data, user)
    configure(folder, data, port, user)
    process = Process(
        name="postgres",
        part="postgres",
        command=[str(install.POSTGRES_PROGRAMS / "postgres"), "-D", str(data)],
        folder=str(place),
        log=str(folder.path / "postgres.log"),
        address=f"127.0.0.1:{port}",
        kind="postgres",
        user=user,
        core=core,
        # Fast shutdown: sessions end, data is written. SIGTERM would wait for clients.
        stop_signal=signal.SIGINT,
    )
    folder.add(process)
    until("postgres", limits.POSTGRES_READY_S, lambda: answers(process.address), process.check)
    create(folder, port, password)
    return {
        "postgres": {
            "name": process.name,
            "address": process.address,
            "pid": process.pid,
            "user": USER,
            "database": DATABASE,
            "password": password,
            "password_file": password_file,
            "tls": {
                "address": process.address,
                "authorities": str(certificates.of(folder).authorities),
            },
        }
    }


def place_of_data(folder: Folder, user: str | None) -> pathlib.Path:
    """An empty folder that the server's user owns and can reach."""
    if user is None or folder.is_open_to_others():
        place = folder.part("postgres")
    else:
        place = folder.outside()
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(place, entry.pw_uid, entry.pw_gid)
    return place


def initialise(
    folder: Folder, place: pathlib.Path, data: pathlib.Path, user: str | None
) -> None:
    """Runs initdb."""
    secret, _ = folder.secret("postgres-administrator")
    file = place / "administrator"
    file.write_text(secret)
    file.chmod(0o600)
    if user is not None:
        os.chown(file, *owner(user))
    options = [f"--username={ADMINISTRATOR}", f"--pwfile={file}", "--encoding=UTF8"]
    options += ["--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync", str(data)]
    command = [str(install.POSTGRES_PROGRAMS / "initdb"), *options]
    run(command, "initdb", cwd=place, **identity(user))
    file.unlink()


def owner(user: str) -> tuple[int, int]:
    """Ids of a user and its group."""
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def configure(folder: Folder, data: pathlib.Path, port: int, user: str | None) -> None:
    """Adds the stand's settings, and copies of the keys that only the server's user reads."""
    files = certificates.of(folder)
    for source in (files.certificate, files.key):
        copy = data / source.name
        shutil.copyfile(source, copy)
        copy.chmod(0o600)
        if user is not None:
            os.chown(copy, *owner(user))
    lines = [
        "listen_addresses = '127.0.0.1'",
        f"port = {port}",
        "unix_socket_directories = ''",
        "max_connections = 60",
        "shared_buffers = '64MB'",
        "ssl = on",
        f"ssl_cert_file = '{files.certificate.name}'",
        f"ssl_key_file = '{files.key.name}'",
        "password_encryption = 'scram-sha-256'",
        "update_process_title = off",
    ]
    with open(data / "postgresql.conf", "a") as file:
        file.write("\n" + "\n".join(lines) + "\n")


def answers(address: str) -> bool:
    """Whether the server accepts connections, by its own program."""
    host, _, port = address.rpartition(":")
    program = str(install.POSTGRES_PROGRAMS / "pg_isready")
    try:
        run([program, "--quiet", f"--host={host}", f"--port={port}"], "pg_isready")
    except StandError as error:
        raise NotYet("it does not accept connections") from error
    return True


def create(folder: Folder, port: int, password: str) -> None:
    """Makes the user and its database."""
    secret, _ = folder.secret("postgres-administrator")
    environment = {**os.environ, "PGPASSWORD": secret}
    program = str(install.POSTGRES_PROGRAMS / "psql")
    where = ["--host=127.0.0.1", f"--port={port}", f"--username={ADMINISTRATOR}"]
    # A generated password has letters, digits, `-` and `_` only.
    for statement in (
        f"CREATE ROLE {USER} LOGIN PASSWORD '{password}'",
        f"CREATE DATABASE {DATABASE} OWNER {USER}",
    ):
        quiet = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--command={statement}"]
        run([program, *where, *quiet, "postgres"], "making the database", env=environment)
