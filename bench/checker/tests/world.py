"""Random valid histories: a small world with publishers, a server that keeps its promises, and
subscribers who come, go, and come back.

The server here is a list for each channel. It numbers what is handed over in order, gives every
subscriber what follows its cursor, and says so whenever it does not.
"""

import random

CLASSES = {"alert.a": 0, "class.b": 1, "collab-awareness.c": 2, "report.d": 3}


class Subscriber:
    """A subscriber and its place in each channel."""

    def __init__(self, name: str):
        self.name = name
        self.is_connected = True
        self.cursors: dict[str, int] = {}
        self.epochs: dict[str, int | None] = {}


class World:
    """Grows a history."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.lines: list[dict] = []
        self.time = 0
        self.number = 0
        names = self.random.sample(sorted(CLASSES), self.random.randint(1, 3))
        self.logs: dict[str, list[tuple[int, int, int]]] = {name: [] for name in names}
        self.tops = {name: (1, 0) for name in names}
        self.queues: dict[str, list[tuple[int, str]]] = {
            f"p{at}": [] for at in range(self.random.randint(1, 4))
        }
        self.handed: dict[tuple[str, int], list[int]] = {}
        self.open: set[int] = set()
        self.subscribers = [Subscriber(f"s{at}") for at in range(self.random.randint(1, 4))]
        self.has_fault = False
        # In half of the worlds one subscriber stays from the beginning to the end.
        self.restless = self.subscribers[seed % 2 :]

    def history(self) -> list[dict]:
        """A whole history, ended in order."""
        for subscriber in self.subscribers:
            self.subscribe(subscriber, self.random.choice(list(self.logs)))
        steps = {
            self.publish: 30, self.sequence: 30, self.deliver: 40, self.join: 1, self.lose: 2,
            self.come_back: 4, self.skip: 1, self.new_epoch: 1, self.settle: 4, self.fault: 1,
        }
        choices = self.random.choices(list(steps), list(steps.values()), k=400)
        for step in choices:
            step()
        self.end()
        return self.lines

    def end(self) -> None:
        """Everything that waits is numbered and delivered to who is connected."""
        while any(self.queues.values()):
            self.sequence()
        for subscriber in self.subscribers:
            for channel in subscriber.cursors:
                while subscriber.is_connected and self.next(subscriber, channel):
                    pass
        self.settle()

    def add(self, do: str, **fields) -> None:
        """A line; sometimes at the same microsecond as the one before."""
        self.time += self.random.randint(0, 500)
        self.lines.append({"t": self.time, "do": do, **fields})

    def publish(self) -> None:
        """Somebody publishes."""
        self.number += 1
        client = self.random.choice(list(self.queues))
        channel = self.random.choice(list(self.logs))
        klass = CLASSES[channel]
        fields = {"client": client, "channel": channel, "id": self.number, "class": klass}
        self.add("publish", key=client, **fields)
        self.queues[client].append((self.number, channel))
        self.handed.setdefault((client, klass), []).append(self.number)
        self.open.add(self.number)

    def sequence(self) -> None:
        """The first that waits of a publisher is numbered and acknowledged, or refused."""
        waiting = [client for client, queue in self.queues.items() if queue]
        if not waiting:
            return
        client = self.random.choice(waiting)
        number, channel = self.queues[client].pop(0)
        self.open.discard(number)
        if self.random.random() < 0.05:
            self.add("refused", client=client, id=number, code=7)
            return
        epoch, offset = self.tops[channel]
        self.tops[channel] = (epoch, offset + 1)
        self.logs[channel].append((number, epoch, offset + 1))
        levels = ["accepted"] if CLASSES[channel] == 2 else ["local", "replicated"]
        for _ in range(self.random.choice([1, 1, 1, 2])):
            level = self.random.choice(levels)
            degraded = level == "local" and self.random.random() < 0.1
            self.add("ack", client=client, id=number, level=level, degraded=degraded)

    def settle(self) -> None:
        """Each publisher learns how far it is settled."""
        for (client, klass), numbers in self.handed.items():
            through = 0
            for number in numbers:
                if number in self.open:
                    break
                through = number
            if through:
                self.add("settled", client=client, through=through, **{"class": klass})

    def subscribe(self, subscriber: Subscriber, channel: str) -> None:
        """A new subscription, from the top."""
        subscriber.cursors[channel] = len(self.logs[channel])
        subscriber.epochs[channel] = None
        self.subscribed(subscriber, channel, True, "new")

    def subscribed(self, subscriber: Subscriber, channel: str, recovered: bool, why: str) -> None:
        """The line of it."""
        fields = {"client": subscriber.name, "channel": channel, "recovered": recovered}
        self.add("subscribed", **fields, reason=why, epoch=0, offset=0)

    def join(self) -> None:
        """Somebody subscribes to one more channel."""
        subscriber = self.random.choice(self.subscribers)
        missing = [channel for channel in self.logs if channel not in subscriber.cursors]
        if missing and subscriber.is_connected:
            self.subscribe(subscriber, self.random.choice(missing))

    def deliver(self) -> None:
        """Somebody gets what is next."""
        subscriber = self.random.choice(self.subscribers)
        if subscriber.is_connected:
            self.next(subscriber, self.random.choice(list(subscriber.cursors)))

    def next(self, subscriber: Subscriber, channel: str) -> bool:
        """Delivers one event; says whether there was one."""
        cursor = subscriber.cursors[channel]
        if cursor >= len(self.logs[channel]):
            return False
        number, epoch, offset = self.logs[channel][cursor]
        known = subscriber.epochs[channel]
        if known is not None and known != epoch:
            fields = {"client": subscriber.name, "channel": channel, "reason": "lineage"}
            self.add("position", **fields, skipped=0, epoch=epoch, offset=offset - 1)
        fields = {"client": subscriber.name, "channel": channel, "epoch": epoch}
        self.add("deliver", **fields, offset=offset, id=number)
        subscriber.cursors[channel] = cursor + 1
        subscriber.epochs[channel] = epoch
        return True

    def lose(self) -> None:
        """A connection is lost."""
        subscriber = self.random.choice(self.restless or self.subscribers)
        if subscriber.is_connected:
            subscriber.is_connected = False
            self.add("lost", client=subscriber.name)

    def come_back(self) -> None:
        """A client resumes; now and then the server says that it cannot."""
        away = [each for each in self.subscribers if not each.is_connected]
        if not away:
            return
        subscriber = self.random.choice(away)
        subscriber.is_connected = True
        resumed = self.random.random() < 0.5
        self.add("connected", client=subscriber.name, node="n", resumed=resumed)
        for channel, cursor in subscriber.cursors.items():
            if self.random.random() < 0.9:
                self.subscribed(subscriber, channel, True, "none")
            else:
                top = len(self.logs[channel])
                subscriber.cursors[channel] = self.random.randint(cursor, top)
                subscriber.epochs[channel] = None
                self.subscribed(subscriber, channel, False, "retention")

    def skip(self) -> None:
        """A slow subscriber is told what it misses."""
        subscriber = self.random.choice(self.restless or self.subscribers)
        channel = self.random.choice(list(subscriber.cursors))
        cursor = subscriber.cursors[channel]
        known = subscriber.epochs[channel]
        behind = self.logs[channel][cursor:]
        if not subscriber.is_connected or known is None or not behind:
            return
        if any(epoch != known for _, epoch, _ in behind):
            return
        count = self.random.randint(1, len(behind))
        _, epoch, offset = behind[count - 1]
        fields = {"client": subscriber.name, "channel": channel, "reason": "slow"}
        self.add("position", **fields, skipped=count, epoch=epoch, offset=offset)
        subscriber.cursors[channel] = cursor + count

    def new_epoch(self) -> None:
        """The numbering of a channel changes."""
        channel = self.random.choice(list(self.logs))
        epoch, offset = self.tops[channel]
        self.tops[channel] = (epoch + self.random.randint(1, 9), offset)

    def fault(self) -> None:
        """Something fails, or is healed."""
        if self.has_fault:
            self.add("healed")
        else:
            self.add("fault", what=self.random.choice(["kill", "pause"]))
        self.has_fault = not self.has_fault
