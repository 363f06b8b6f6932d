"""A master, two replicas and three Sentinels, in the clear or secured.

`min-replicas-to-write 1` makes a master that lost both replicas refuse writes instead of
acknowledging what would be lost with it. In the clear, Sentinels name addresses in the clear, and
the TLS addresses of the servers stand beside them. Secured, servers and Sentinels speak TLS only,
also among themselves, and the servers have one user, with a password.
"""

import dataclasses
import shutil

from . import certificates, limits, resp
from .processes import Process
from .record import Folder
from .redis_server import USER, Server, credentials, described
from .waiting import NotYet, until

MASTER = "interlink"
SERVERS = 3
SENTINELS = 3
QUORUM = 2


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the two parts."""

    part: str
    key: str
    """Name in `stand.json`."""
    mark: str
    """In the names of its servers."""
    port: int | None
    """Offset of the first server's port in the clear."""
    tls_port: int
    sentinel_port: int

    @property
    def is_secure(self) -> bool:
        """Whether everything speaks TLS only."""
        return self.port is None


CLEAR = Variant("redis-sentinel", "sentinel", "", 10, 13, 16)
SECURE = Variant("redis-sentinel-tls", "sentinel_tls", "tls-", None, 70, 73)


def up(folder: Folder, base: int, core: str | None, variant: Variant) -> dict:
    """Starts the servers, then the Sentinels, and waits until all see each other."""
    servers = [server(folder, base, at, variant) for at in range(SERVERS)]
    nodes = [
        each.start(core, [*replication(folder, variant), *([] if at == 0 else follows(servers[0]))])
        for at, each in enumerate(servers)
    ]
    pairs = list(zip(nodes, servers, strict=True))
    for node, each in pairs:
        until(node.name, limits.REDIS_READY_S, lambda: linked(each, servers[0]), node.check)
    sentinels = [
        start_sentinel(folder, base, at, servers[0], core, variant) for at in range(SENTINELS)
    ]
    for each in sentinels:
        until(each.name, limits.SENTINEL_READY_S, lambda: sees_all(each), each.check)
    names = [{"name": each.name, "address": each.address, "pid": each.pid} for each in sentinels]
    found = {"master": MASTER, "sentinels": names, "nodes": [described(*pair) for pair in pairs]}
    if variant.is_secure:
        found["tls"] = credentials(folder)
    return {"redis": {variant.key: found}}


def server(folder: Folder, base: int, at: int, variant: Variant) -> Server:
    """One of the three servers."""
    port = None if variant.port is None else base + variant.port + at
    name = f"redis-{variant.mark}node-{at + 1}"
    return Server(folder, variant.part, name, port, base + variant.tls_port + at)


def replication(folder: Folder, variant: Variant) -> list[str]:
    """Settings of all three: each may become master."""
    lines = [
        "min-replicas-to-write 1",
        f"min-replicas-max-lag {limits.REPLICA_LAG_MAX_S}",
        f"repl-backlog-size {limits.REPLICATION_BACKLOG}",
        "repl-diskless-sync-delay 0",
        "repl-timeout 10",
    ]
    if variant.is_secure:
        password, _ = folder.secret("redis")
        lines += ["tls-replication yes", f"masteruser {USER}", f"masterauth {password}"]
    return lines


def follows(master: Server) -> list[str]:
    """Settings of a replica."""
    return [f"replicaof {master.address.replace(':', ' ')}"]


def linked(server: Server, master: Server) -> bool:
    """Whether a replica follows its master, and the master has all of them in good order."""
    facts = server.info("replication")
    if server is not master:
        if facts["role"] != "slave" or facts["master_link_status"] != "up":
            raise NotYet(f"role {facts['role']}, link {facts.get('master_link_status')}")
        return True
    if int(facts["connected_slaves"]) < SERVERS - 1:
        raise NotYet(f"{facts['connected_slaves']} replicas are connected")
    if int(facts["min_slaves_good_slaves"]) < SERVERS - 1:
        raise NotYet(f"{facts['min_slaves_good_slaves']} replicas are in good order")
    return True


def start_sentinel(
    folder: Folder, base: int, at: int, master: Server, core: str | None, variant: Variant
) -> Process:
    """Starts a Sentinel; it rewrites its configuration as it learns."""
    name, port = f"{variant.mark}sentinel-{at + 1}", base + variant.sentinel_port + at
    data = folder.part(name)
    configuration = data / "sentinel.conf"
    lines = [
        "bind 127.0.0.1",
        f"dir {data}",
        "daemonize no",
        f"sentinel monitor {MASTER} {master.address.replace(':', ' ')} {QUORUM}",
        f"sentinel down-after-milliseconds {MASTER} {limits.SENTINEL_DOWN_AFTER_MS}",
        f"sentinel failover-timeout {MASTER} {limits.SENTINEL_FAILOVER_MS}",
        f"sentinel parallel-syncs {MASTER} {SERVERS - 1}",
        *(secured(folder, port) if variant.is_secure else [f"port {port}"]),
    ]
    configuration.write_text("\n".join(lines) + "\n")
    authorities = str(certificates.of(folder).authorities)
    process = Process(
        name=name,
        part=variant.part,
        command=[str(shutil.which("redis-server")), str(configuration), "--sentinel"],
        folder=str(data),
        log=str(data / "log"),
        address=f"127.0.0.1:{port}",
        kind="redis",
        core=core,
        tls={"authorities": authorities} if variant.is_secure else None,
    )
    folder.add(process)
    return process


def secured(folder: Folder, port: int) -> list[str]:
    """Settings of a Sentinel that speaks TLS only, and logs in at the servers."""
    files = certificates.of(folder)
    password, _ = folder.secret("redis")
    return [
        "port 0",
        f"tls-port {port}",
        f"tls-cert-file {files.certificate}",
        f"tls-key-file {files.key}",
        f"tls-ca-cert-file {files.authorities}",
        "tls-auth-clients no",
        "tls-replication yes",
        f"sentinel auth-user {MASTER} {USER}",
        f"sentinel auth-pass {MASTER} {password}",
    ]


def sees_all(sentinel: Process) -> bool:
    """Whether a Sentinel knows the master, both replicas and the other Sentinels."""
    words = resp.ask(sentinel.address, "SENTINEL", "MASTER", MASTER, tls=sentinel.tls)
    facts = dict(zip(words[::2], words[1::2], strict=True))
    if facts["flags"] != "master":
        raise NotYet(f"holds the master for {facts['flags']}")
    if int(facts["num-slaves"]) < SERVERS - 1:
        raise NotYet(f"knows {facts['num-slaves']} replicas")
    if int(facts["num-other-sentinels"]) < SENTINELS - 1:
        raise NotYet(f"knows {facts['num-other-sentinels']} other Sentinels")
    return True
