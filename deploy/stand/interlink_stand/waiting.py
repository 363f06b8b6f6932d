"""Asking a server again until it is ready.

A question is a function that returns something true when it is answered as wanted, and otherwise
returns a falsy value or raises `OSError` or `NotYet`. The pause between questions grows; it is
no guess about how long a start takes, only how often one asks.
"""

import time
from collections.abc import Callable

from . import limits
from .errors import StandError


class NotYet(Exception):
    """The server answered, and says that it is not ready, or not how it should be."""


def until(what: str, seconds: float, question: Callable[[], object], check=lambda: None) -> object:
    """Asks until the answer is true and returns it.

    `check` raises when asking is pointless, such as when the server has ended.
    """
    deadline = time.monotonic() + seconds
    pause = limits.POLL_FIRST_S
    last = "no answer"
    while True:
        check()
        try:
            answer = question()
            if answer:
                return answer
        except (OSError, NotYet) as error:
            last = str(error) or type(error).__name__
        if time.monotonic() > deadline:
            raise StandError(f"{what} is not ready after {seconds:.0f} s: {last}")
        time.sleep(pause)
        pause = min(pause * 1.5, limits.POLL_MAX_S)
