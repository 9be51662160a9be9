"""`relay bench`: what a cluster carries, and how fast, measured from its clients' side.

    command     its command line
    plan        what to do: servers, pairs, load, seconds
    cluster     two nodes of its own, where no server is given
    speech      a dialect: bytes of what is said, and what came; no I/O
    pair        two who chat: what may be said now, what became of it; no I/O
    histogram   latencies, mergeable
    worker      one process: some of the pairs on real sockets
    gather      all worker processes, from start to outcome
    report      the outcome for people and for programs

Both partners of a pair live in one worker, so one clock stamps and reads, also where their servers are far apart.
"""
