"""Apache Kafka: one broker, or three that are controllers too (KRaft).

Each broker has a listener in the clear and one with SASL over TLS, for which SCRAM-SHA-512 and
PLAIN take the same user and password. Topics are made by plan only, never by use.
"""

import pathlib

from . import certificates, install, kafka_wire, limits
from .processes import Process, run
from .record import Folder
from .waiting import NotYet, until

USER = "interlink"

LOGGING = """\
status = warn
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = info
"""


class Broker:
    """One broker and where it listens."""

    def __init__(self, number: int, base: int):
        self.number = number
        self.name = f"kafka-{number}"
        self.address = f"127.0.0.1:{base + 49 + number}"
        self.sasl_address = f"127.0.0.1:{base + 52 + number}"
        self.controller_address = f"127.0.0.1:{base + 55 + number}"


def up(folder: Folder, base: int, core: str | None, count: int, part: str) -> dict:
    """Starts the brokers and waits until each knows all of them."""
    libraries = install.kafka_libraries()
    brokers = [Broker(number, base) for number in range(1, count + 1)]
    data = {broker.name: folder.part(broker.name) for broker in brokers}
    cluster = run(java(libraries, "kafka.tools.StorageTool", "random-uuid"), "StorageTool")
    # The id stands on a line of its own, below what logging may print.
    cluster = cluster.split()[-1]
    processes = []
    for broker in brokers:
        properties = data[broker.name] / "server.properties"
        lines = settings(folder, broker, brokers, data[broker.name])
        properties.write_text("\n".join(lines) + "\n")
        properties.chmod(0o600)
        format_storage(folder, libraries, cluster, properties)
    for broker in brokers:
        processes.append(start(folder, broker, libraries, data[broker.name], core, part))
    for process in processes:
        until(
            process.name,
            limits.KAFKA_READY_S,
            lambda: knows_all(process.address, count),
            process.check,
        )
    pairs = zip(processes, brokers, strict=True)
    return {"kafka": {"brokers": [described(folder, *pair) for pair in pairs]}}


def described(folder: Folder, process: Process, broker: Broker) -> dict:
    """A broker as `stand.json` shows it."""
    password, file = folder.secret("kafka")
    return {
        "name": process.name,
        "address": broker.address,
        "pid": process.pid,
        "tls": {
            "address": broker.sasl_address,
            "authorities": str(certificates.of(folder).authorities),
            "mechanism": "SCRAM-SHA-512",
            "username": USER,
            "password": password,
            "password_file": file,
        },
    }


def settings(
    folder: Folder, broker: Broker, brokers: list[Broker], data: pathlib.Path
) -> list[str]:
    """The properties of a broker."""
    voters = ",".join(f"{each.number}@{each.controller_address}" for each in brokers)
    replicas = len(brokers)
    in_sync = 2 if replicas > 1 else 1
    return [
        "process.roles=broker,controller",
        f"node.id={broker.number}",
        f"controller.quorum.voters={voters}",
        f"listeners=PLAIN://{broker.address},SASL://{broker.sasl_address},"
        f"CONTROLLER://{broker.controller_address}",
        f"advertised.listeners=PLAIN://{broker.address},SASL://{broker.sasl_address}",
        "controller.listener.names=CONTROLLER",
        "inter.broker.listener.name=PLAIN",
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,SASL:SASL_SSL",
        *sasl(folder),
        f"log.dirs={data / 'logs'}",
        "auto.create.topics.enable=false",
        f"default.replication.factor={replicas}",
        f"min.insync.replicas={in_sync}",
        "unclean.leader.election.enable=false",
        f"offsets.topic.replication.factor={replicas}",
        "offsets.topic.num.partitions=4",
        f"transaction.state.log.replication.factor={replicas}",
        f"transaction.state.log.min.isr={in_sync}",
        "transaction.state.log.num.partitions=1",
        f"share.coordinator.state.topic.replication.factor={replicas}",
        f"share.coordinator.state.topic.min.isr={in_sync}",
        "num.network.threads=2",
        "num.io.threads=2",
        "log.segment.bytes=16777216",
        "log.index.size.max.bytes=1048576",
        "log.cleaner.dedupe.buffer.size=16777216",
        "group.initial.rebalance.delay.ms=0",
        "broker.session.timeout.ms=6000",
        "broker.heartbeat.interval.ms=1000",
        "replica.lag.time.max.ms=5000",
    ]


def sasl(folder: Folder) -> list[str]:
    """The listener with SASL over TLS."""
    password, _ = folder.secret("kafka")
    files = certificates.of(folder)
    listener = "listener.name.sasl"
    module = "org.apache.kafka.common.security"
    return [
        f"{listener}.ssl.keystore.type=PEM",
        f"{listener}.ssl.keystore.location={files.store}",
        f"{listener}.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
        f"{listener}.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;",
        f"{listener}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required "
        f'user_{USER}="{password}";',
    ]


def format_storage(
    folder: Folder, libraries: pathlib.Path, cluster: str, properties: pathlib.Path
) -> None:
    """Prepares a broker's folder, with the SCRAM user in the cluster's first records."""
    password, _ = folder.secret("kafka")
    scram = f"SCRAM-SHA-512=[name={USER},password={password}]"
    arguments = ["format", "--cluster-id", cluster, "--config", str(properties)]
    command = java(libraries, "kafka.tools.StorageTool", *arguments, "--add-scram", scram)
    run(command, "StorageTool format")


def start(
    folder: Folder,
    broker: Broker,
    libraries: pathlib.Path,
    data: pathlib.Path,
    core: str | None,
    part: str,
) -> Process:
    """Starts a broker."""
    logging = data / "log4j2.properties"
    logging.write_text(LOGGING)
    process = Process(
        name=broker.name,
        part=part,
        command=java(libraries, "kafka.Kafka", str(data / "server.properties"), logging=logging),
        folder=str(data),
        log=str(data / "log"),
        address=broker.address,
        kind="kafka",
        core=core,
    )
    folder.add(process)
    return process


def java(
    libraries: pathlib.Path, program: str, *arguments: str, logging: pathlib.Path | None = None
) -> list[str]:
    """A command that runs a program of Kafka."""
    options = [*limits.KAFKA_HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    if logging is not None:
        options.append(f"-Dlog4j2.configurationFile={logging}")
    return ["java", *options, "-cp", f"{libraries}/*", program, *arguments]


def knows_all(address: str, count: int) -> bool:
    """Whether a broker knows all brokers as alive."""
    known = kafka_wire.brokers(address)
    if len(known) < count:
        raise NotYet(f"knows {len(known)} of {count} brokers")
    return True
