"""The command line: histories in, one JSON object on standard output, a table on standard error."""

import argparse
import contextlib
import json
import pathlib
import sys

from . import limits, report
from .history import HistoryError, merged
from .judge import Options, judge

BROKEN = 1
WORTHLESS = 2


def main(arguments: list[str]) -> int:
    """Judges and returns the exit code."""
    options = parser().parse_args(arguments)
    asked = Options(options.strict, options.journal_lost, options.late_us)
    try:
        with contextlib.ExitStack() as stack:
            files = [
                (str(path), stack.enter_context(open(path, encoding="utf-8")))
                for path in options.histories
            ]
            verdict = judge(merged(files), asked)
    except (HistoryError, OSError, UnicodeDecodeError) as error:
        print(f"check: {error}", file=sys.stderr)
        return WORTHLESS
    print(json.dumps(verdict))
    print(report.table(verdict), file=sys.stderr)
    return 0 if verdict["ok"] else BROKEN


def parser() -> argparse.ArgumentParser:
    """All options."""
    codes = "exit code: 0 all rules hold, 1 one is broken, 2 the history proves nothing"
    what = "Judges what clients saw."
    top = argparse.ArgumentParser(prog="check", description=what, epilog=codes)
    top.add_argument("histories", nargs="+", type=pathlib.Path, metavar="HISTORY.ndjson")
    text = "stored events that nobody got fail the run, also when every subscriber was told"
    top.add_argument("--strict", action="store_true", help=text)
    text = "a node's disk never came back: `local` events of clients that are gone may be lost"
    top.add_argument("--journal-lost", action="store_true", help=text)
    text = f"a delivery above this latency belongs to a fault (default: {limits.LATE_US})"
    top.add_argument("--late-us", type=int, default=limits.LATE_US, metavar="N", help=text)
    return top
