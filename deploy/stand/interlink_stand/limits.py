"""Every number of the stand, with its reason."""

BASE_PORT = 6700
"""First port by default: below 10000, where outgoing connections do not fall."""

PORTS = 80
"""Ports that a stand may use, from its base; so stands at a distance of 100 never meet."""

PORT_MAX = 9999
"""Highest port: outgoing connections begin above it."""

POLL_FIRST_S = 0.02
POLL_MAX_S = 0.25
"""Pause between two questions to a server that is not ready: first, and grown by halves."""

REDIS_READY_S = 20
"""A Redis server listens within 0.1 s; a busy machine takes longer."""

SENTINEL_READY_S = 45
"""Sentinels find each other by a message every 2 s, and replicas by a question every 10 s."""

CLUSTER_READY_S = 60
"""Nodes gossip ten times a second; a replica then loads its master's data."""

KAFKA_READY_S = 150
"""A broker takes about 6 s of processor time to start; three on one core take three times that."""

POSTGRES_READY_S = 60
"""A fresh cluster accepts connections within 1 s; the file system may be slow."""

STOP_S = 15
"""Time in which a server ends by itself before it is killed."""

KILLED_S = 5
"""Time in which the kernel ends a killed process."""

ANSWER_S = 5
"""Time for one answer of a server."""

INSTALL_S = 900
"""Time to install packages or to fetch the libraries of Kafka."""

COMMAND_S = 120
"""Time of a program that prepares a server, such as initdb."""

ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""Longest answer that is read."""

LOG_LINES = 20
"""Lines of a server's log in an error message."""

LOCK_S = 600
"""Time that a command waits for another one on the same folder."""

CERTIFICATE_DAYS = 30
"""A stand does not live longer."""

SENTINEL_DOWN_AFTER_MS = 1500
"""Silence after which a Sentinel holds a server for dead: failover ends within 5 s. A Sentinel asks
once a second, so that with 1000 a server is dead whose answer is a moment late."""

SENTINEL_FAILOVER_MS = 5000
"""Time of one attempt at failover; another may begin after twice that."""

REPLICA_LAG_MAX_S = 2
"""A replica that is silent for longer does not count for min-replicas-to-write. Redis measures
in whole seconds and replicas report once a second, so that 1 refuses writes by chance."""

REPLICATION_BACKLOG = "64mb"
"""What a server keeps of its stream for replicas that come back or turn to a new master: some
seconds of 10,000 events a second. With the 1 MB of Redis, which is a third of a second of that, the
replica that was not promoted copies everything, and until it has, a master that wants one replica
refuses writes."""

CLUSTER_NODE_TIMEOUT_MS = 1500
"""Silence after which a cluster node is held for dead; below 1 s a busy core is taken for it."""

KAFKA_HEAP = ("-Xms192m", "-Xmx384m")
"""Heap of a broker; enough for the tests, and three fit beside everything else."""
