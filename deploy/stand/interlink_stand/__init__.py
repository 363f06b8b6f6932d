"""Starts, watches and stops the servers of the test stand.

One module for each idea: `commands` reads the command line, `parts` knows what there is,
`redis_*`, `kafka` and `postgres` each start one part and ask it until it is ready, `processes`
starts and ends programs, `record` keeps what runs in the stand's folder, `install` brings what
the machine lacks, `certificates` makes keys, `resp` and `kafka_wire` speak just enough to ask.

Standard library only. Nothing here is imported by the product.
"""
