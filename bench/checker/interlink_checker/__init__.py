"""Judges a run of Interlink by its clients' histories alone.

`history` reads and merges the files, `publishes` and `subscriptions` follow what publishers and
subscribers were told, `verdict` collects what breaks a rule, `losses` asks at the end who should
have got what, `recovery` measures how long faults were felt, `report` prints.

Standard library only; it shares no code and no language with the server.
"""
