"""`relay torture`: random traffic on a cluster while a nemesis injects faults, and a check of what every client saw.

    command              the command line
    run_settings         the settings of a run: seconds, seed, faults
    lab                  the cluster under test: servers, proxies in front of a single one, node processes
    redis_proxy          a network between a node and the server that can be cut or slowed
    nemesis              injects faults into the lab, and keeps a log of them
    user_moves           what a user does next
    json_client          a JSON client that decides and records in a history; no I/O
    text_client          a text client, likewise; no I/O
    json_client_session  the state of a JSON client's session, which outlives its connections; no I/O
    client_driver        carries out on real sockets what the clients decide
    newcomers            new users who arrive all the time
    smoke_check          checks whether a cluster works
    history              what all clients saw
    checker              checks the promises against the history; no I/O
    report               the outcome for people and for programs
    single_run           one run, from a fresh cluster to a report

Servers and connections come from relay.tools.testbed. Traffic and faults are drawn from the seed. Their timing depends
on the machine, so a seed repeats what is drawn, and not the whole run.
"""
