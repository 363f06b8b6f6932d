"""The verdict for people."""

from .verdict import RULES


def table(verdict: dict) -> str:
    """One line for each rule, each class, and each kind of fault."""
    rows = [f"{'rule':24} {'broken':>8}  what it means"]
    rows += [f"{rule:24} {verdict[rule]:8}  {text}" for rule, text in RULES.items()]
    rows += ["", f"{'class':6} {'level':12} {'acked':>9} {'lost':>6}"]
    for klass, levels in verdict["acked"].items():
        lost = verdict["lost"][klass]
        for level in sorted({*levels, *lost}):
            rows.append(f"{klass:6} {level:12} {levels.get(level, 0):9} {lost.get(level, 0):6}")
    rows.append("")
    for name in ("published", "delivered", "refused", "unanswered", "settled", "excused",
                 "clients_gone", "unwatched", "accepted_lost", "announced_skips", "unrecovered_resumes",
                 "repeats_across_sessions"):
        rows.append(f"{name:24} {verdict[name]:8}")
    kinds = verdict["recovery"]["by_what"]
    if kinds:
        rows += ["", f"{'fault':24} {'rounds':>6} {'p50 ms':>9} {'p99 ms':>9} {'max ms':>9}"]
    for what, times in kinds.items():
        shown = [milliseconds(times[f"recovery_{name}_us"]) for name in ("p50", "p99", "max")]
        columns = " ".join(f"{text:>9}" for text in shown)
        rows.append(f"{what[:24]:24} {times['rounds']:6} {columns}")
    for example in verdict["examples"][:5]:
        rows.append(f"example: {example}")
    rows += ["", "holds" if verdict["ok"] else "BROKEN"]
    return "\n".join(rows)


def milliseconds(value: int | None) -> str:
    """A time, or that there is none."""
    return "none" if value is None else f"{value / 1000:.1f}"
