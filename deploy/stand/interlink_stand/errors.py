"""The one error of the stand."""


class StandError(Exception):
    """Something the operator can read: what is wrong, and what to do."""
