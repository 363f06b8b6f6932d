"""Short ways to write histories in tests."""

import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from interlink_checker.history import merged  # noqa: E402
from interlink_checker.judge import Options, judge  # noqa: E402
from interlink_checker.verdict import RULES  # noqa: E402

CHANNEL = "class.c1"


class Scene:
    """A history that grows by a millisecond a line."""

    def __init__(self):
        self.lines: list[dict] = []
        self.time = 0

    def add(self, do: str, **fields) -> "Scene":
        """A line."""
        self.time += 1000
        self.lines.append({"t": self.time, "do": do, **fields})
        return self

    def publish(self, number: int, client="p", channel=CHANNEL, klass=1, key=None) -> "Scene":
        """An event is handed over."""
        key = key or client
        fields = {"client": client, "channel": channel, "id": number, "class": klass, "key": key}
        return self.add("publish", **fields)

    def ack(self, number: int, level="local", client="p", degraded=False) -> "Scene":
        """It is acknowledged."""
        return self.add("ack", client=client, id=number, level=level, degraded=degraded)

    def refuse(self, number: int, client="p") -> "Scene":
        """It is refused."""
        return self.add("refused", client=client, id=number, code=1)

    def settle(self, through: int, client="p", klass=1) -> "Scene":
        """Everything up to it is settled."""
        return self.add("settled", client=client, through=through, **{"class": klass})

    def subscribe(self, client="s", recovered=True, reason="new", channel=CHANNEL) -> "Scene":
        """A subscription."""
        fields = {"client": client, "channel": channel, "recovered": recovered, "reason": reason}
        return self.add("subscribed", **fields, epoch=0, offset=0)

    def deliver(self, number: int, offset: int, epoch=1, client="s", channel=CHANNEL) -> "Scene":
        """An event comes."""
        fields = {"client": client, "channel": channel, "epoch": epoch, "offset": offset}
        return self.add("deliver", **fields, id=number)

    def position(self, skipped: int, reason="slow", client="s", **where) -> "Scene":
        """An announcement."""
        fields = {"client": client, "channel": CHANNEL, "skipped": skipped, "reason": reason}
        return self.add("position", **fields, **where)

    def connected(self, client="s", resumed=True) -> "Scene":
        """A connection."""
        return self.add("connected", client=client, node="n1", resumed=resumed)

    def lost(self, client="s") -> "Scene":
        """No connection."""
        return self.add("lost", client=client)

    def fault(self, what="kill") -> "Scene":
        """A fault."""
        return self.add("fault", what=what)

    def healed(self) -> "Scene":
        """Its end."""
        return self.add("healed")


def sent(*numbers: int) -> Scene:
    """A subscriber, and events that were published and acknowledged as `local`."""
    scene = Scene().subscribe()
    for number in numbers:
        scene.publish(number).ack(number)
    return scene


def verdict(scene: Scene | list[dict], **options) -> dict:
    """What the checker says."""
    lines = scene.lines if isinstance(scene, Scene) else scene
    return judge(iter(lines), Options(**options))


def broken(scene: Scene | list[dict], **options) -> set[str]:
    """The rules that are broken."""
    found = verdict(scene, **options)
    rules = {rule for rule in RULES if found[rule]}
    assert found["ok"] == (not rules) or options.get("strict"), found
    return rules


__all__ = ["CHANNEL", "Scene", "broken", "judge", "merged", "sent", "verdict"]
