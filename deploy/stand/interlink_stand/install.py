"""Brings what the machine lacks: Debian packages, and the libraries of Apache Kafka.

Packages are installed without starting the services that they bring, since the stand starts its
own servers. Libraries go to target/stand-kafka in the repository and are shared by all stands.
"""

import contextlib
import os
import pathlib
import re
import shutil

from . import limits
from .errors import StandError
from .processes import run
from .record import locked

ROOT = pathlib.Path(__file__).resolve().parents[3]
POM = ROOT / "deploy" / "stand" / "pom.xml"
LIBRARIES = ROOT / "target" / "stand-kafka"
POSTGRES_PROGRAMS = pathlib.Path("/usr/lib/postgresql/15/bin")
POLICY = pathlib.Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Of the Interlink test stand, which starts its own servers.\nexit 101\n"
OWN_LIBRARIES = "INTERLINK_KAFKA_LIBRARIES"
JAVA_MIN = 17


def programs(parts: set[str]) -> None:
    """Installs the programs that parts need and that are missing."""
    packages = []
    if shutil.which("openssl") is None:
        packages.append("openssl")
    if any(part.startswith("redis") for part in parts) and shutil.which("redis-server") is None:
        packages.append("redis-server")
    if "postgres" in parts and not (POSTGRES_PROGRAMS / "postgres").exists():
        packages.append("postgresql-15")
    if parts & {"kafka", "kafka3"}:
        if java_version() < JAVA_MIN:
            packages.append("openjdk-17-jre-headless")
        if not has_libraries() and shutil.which("mvn") is None:
            packages.append("maven")
    if packages:
        install(packages)


def install(packages: list[str]) -> None:
    """Installs Debian packages; none of their services starts."""
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise StandError(
            f"{names} is missing and cannot be installed here; install it as root, on Debian "
            f"with: apt-get install --no-install-recommends {names}"
        )
    print(f"installing {names}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = {"env": environment, "timeout": limits.INSTALL_S}
    with no_services():
        run(["apt-get", "update", "-qq"], "apt-get update", **options)
        quiet = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
        run([*quiet, *packages], f"installing {names}", **options)


@contextlib.contextmanager
def no_services():
    """Forbids that installed packages start services, by Debian's policy file."""
    if POLICY.exists() and POLICY.read_text() != POLICY_TEXT:
        # The machine has a policy of its own, as containers do.
        yield
        return
    POLICY.write_text(POLICY_TEXT)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def java_version() -> int:
    """Major version of the installed Java, 0 without one."""
    if shutil.which("java") is None:
        return 0
    text = run(["java", "-version"], "java -version")
    found = re.search(r'version "(\d+)', text)
    return int(found[1]) if found else 0


def pinned() -> str:
    """The version of Kafka that the pom names."""
    found = re.search(r"kafka_2\.13</artifactId>\s*<version>([^<]+)<", POM.read_text())
    if found is None:
        raise StandError(f"{POM} names no version of kafka_2.13")
    return found[1]


def has_libraries() -> bool:
    """Whether the libraries of the pinned version lie ready."""
    if OWN_LIBRARIES in os.environ:
        return True
    return (LIBRARIES / pinned() / "complete").exists()


def kafka_libraries(mvn: str = "mvn", place: pathlib.Path = LIBRARIES) -> pathlib.Path:
    """The folder with the libraries of Kafka, filled by Maven when it is not there."""
    own = os.environ.get(OWN_LIBRARIES)
    if own:
        folder = pathlib.Path(own)
        if not list(folder.glob("kafka_2.13-*.jar")):
            raise StandError(f"{OWN_LIBRARIES} names {own}, which holds no kafka_2.13-*.jar")
        return folder
    place.mkdir(parents=True, exist_ok=True)
    with locked(place):
        folder = place / pinned()
        if not (folder / "complete").exists():
            fetch(mvn, folder)
        return folder


def fetch(mvn: str, folder: pathlib.Path) -> None:
    """Lets Maven copy the libraries into a folder."""
    print(f"fetching Apache Kafka {pinned()} by Maven", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    copy = [f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
    command = [mvn, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", *copy]
    try:
        run(command, "mvn dependency:copy-dependencies", timeout=limits.INSTALL_S)
    except StandError as error:
        raise StandError(
            f"Apache Kafka {pinned()} cannot be had, so the stand has no kafka: {error}\n"
            f"Either let Maven reach a repository that has org.apache.kafka:kafka_2.13, or set "
            f"{OWN_LIBRARIES} to the libs folder of an unpacked Apache Kafka {pinned()}."
        ) from error
    if not list(folder.glob("kafka_2.13-*.jar")):
        raise StandError(f"Maven copied no kafka_2.13-*.jar to {folder}; look at {POM}")
    (folder / "complete").touch()
