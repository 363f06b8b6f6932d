"""A Redis Cluster of three masters with a replica each.

Nodes talk to each other by TLS, and clients find TLS addresses when they ask by TLS and those in
the clear otherwise. One slot range that nobody serves does not stop the others.
"""

from . import limits, resp
from .processes import Process
from .record import Folder
from .redis_server import Server, credentials, described
from .waiting import NotYet, until

MASTERS = 3
SLOTS = 16384


def up(folder: Folder, base: int, core: str | None) -> dict:
    """Starts six nodes, joins them, and waits until all agree."""
    servers = [
        Server(folder, "redis-cluster", f"redis-cluster-{at + 1}", base + 20 + at, base + 30 + at)
        for at in range(2 * MASTERS)
    ]
    nodes = [
        server.start(core, settings(base + 40 + at)) for at, server in enumerate(servers)
    ]
    for node in nodes:
        until(
            node.name,
            limits.REDIS_READY_S,
            lambda: resp.ask(node.address, "PING") == "PONG",
            node.check,
        )
    join(servers, nodes, base)
    for node in nodes:
        until(node.name, limits.CLUSTER_READY_S, lambda: is_whole(node.address), node.check)
    described_nodes = [
        described(node, server) for node, server in zip(nodes, servers, strict=True)
    ]
    return {"redis": {"cluster": {"nodes": described_nodes, "tls": credentials(folder)}}}


def settings(bus_port: int) -> list[str]:
    """Settings of a node."""
    return [
        "cluster-enabled yes",
        f"cluster-port {bus_port}",
        f"cluster-node-timeout {limits.CLUSTER_NODE_TIMEOUT_MS}",
        "cluster-require-full-coverage no",
        "cluster-replica-validity-factor 0",
        "tls-cluster yes",
        "tls-replication yes",
        f"repl-backlog-size {limits.REPLICATION_BACKLOG}",
        "repl-diskless-sync-delay 0",
        "repl-timeout 10",
    ]


def join(servers: list[Server], nodes: list[Process], base: int) -> None:
    """Gives the masters their slots and each a replica."""
    for at, server in enumerate(servers):
        resp.ask(server.address, "CLUSTER", "SET-CONFIG-EPOCH", at + 1)
    for at, server in enumerate(servers[:MASTERS]):
        first, last = SLOTS * at // MASTERS, SLOTS * (at + 1) // MASTERS - 1
        resp.ask(server.address, "CLUSTER", "ADDSLOTSRANGE", first, last)
    for at, server in enumerate(servers[1:], start=1):
        bus = base + 40 + at
        resp.ask(servers[0].address, "CLUSTER", "MEET", "127.0.0.1", server.tls_port, bus)
    for node in nodes:
        until(
            node.name,
            limits.CLUSTER_READY_S,
            lambda: knows(node.address, len(servers)),
            node.check,
        )
    for at, server in enumerate(servers[MASTERS:]):
        master = resp.ask(servers[at].address, "CLUSTER", "MYID")
        until(
            server.name,
            limits.CLUSTER_READY_S,
            lambda: resp.ask(server.address, "CLUSTER", "REPLICATE", master) == "OK",
            nodes[MASTERS + at].check,
        )


def knows(address: str, count: int) -> bool:
    """Whether a node has shaken hands with all others."""
    lines = resp.ask(address, "CLUSTER", "NODES").splitlines()
    met = [line for line in lines if "handshake" not in line and "noaddr" not in line]
    if len(met) < count:
        raise NotYet(f"knows {len(met)} of {count} nodes")
    return True


def is_whole(address: str) -> bool:
    """Whether a node sees all slots served, three masters, and three replicas in step."""
    lines = resp.ask(address, "CLUSTER", "INFO").splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    wanted = {
        "cluster_state": "ok",
        "cluster_slots_ok": str(SLOTS),
        "cluster_known_nodes": str(2 * MASTERS),
        "cluster_size": str(MASTERS),
    }
    for name, value in wanted.items():
        if facts.get(name) != value:
            raise NotYet(f"{name} is {facts.get(name)}")
    replicas = [
        line for line in resp.ask(address, "CLUSTER", "NODES").splitlines() if "slave" in line
    ]
    if len(replicas) < MASTERS:
        raise NotYet(f"sees {len(replicas)} replicas")
    facts = resp.info(address, "replication")
    if facts["role"] == "slave" and facts["master_link_status"] != "up":
        raise NotYet("does not follow its master yet")
    if facts["role"] == "master" and facts["connected_slaves"] == "0":
        raise NotYet("has no replica yet")
    return True
