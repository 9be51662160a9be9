"""`relay torture`: random traffic on a cluster while a nemesis breaks things, and a check of what every client saw.

    command   its command line
    plan      what to do: seconds, seed, faults
    lab       the cluster under test: servers, proxies in front of one, node processes
    servers   one server, or sentinels and what they watch, or a cluster; topology: how those are made
    nemesis   breaks parts of the lab, and keeps a log of it
    program   a JSON client, person   a text client; no I/O: they decide, and record in a history
    memory    what a program keeps of its session over all its connections; no I/O
    trust     certificates, for clients that speak TLS
    player    carries out on real sockets what they decide; wire: one connection; probe: whether all works
    history   what everybody saw
    checker   the promises, held against the history; no I/O
    report    the outcome for people and for programs
    campaign  one run, from a fresh cluster to a report

Traffic and faults are drawn from the seed. When they hit depends on the machine, so a seed repeats a plan, not a run.
"""
