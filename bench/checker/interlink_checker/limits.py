"""Numbers of the checker, with their reasons."""

EXAMPLES_MAX = 20
"""Broken rules that are shown with their details; all are counted."""

LINE_BYTES_MAX = 64 * 1024
"""A line has some 120 bytes; a longer one is no history."""

LATE_US = 1_000_000
"""A delivery that took longer than this is felt as part of a fault."""

CLASSES = 4
"""P0 to P3."""

LEVELS = ("accepted", "local", "replicated")
"""Levels of an ack, from the weakest."""
