"""`relay bench`: measures the throughput and latency of a cluster from its clients' side.

    command          the command line
    run_settings     the settings of a run: servers, pairs, load, seconds
    local_cluster    two nodes of its own, if no server is given
    client_dialects  a dialect: encodes requests and reads replies; no I/O
    pair             two users who chat, and the outcome of their messages; no I/O
    histogram        latencies, mergeable
    worker           one process with some of the pairs on real sockets
    coordinator      all worker processes, from their start to the outcome
    report           the outcome for people and for programs

Both partners of a pair are in one worker, so the same clock stamps and reads a message, even if their servers are far
apart.
"""
