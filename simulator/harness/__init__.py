"""Runs the relay on the simulated world, and checks what comes of it.

seams       gives relay and pairchat the clocks, randomness, sockets and threads of the process that runs
machine     a node's machine, and a process that is a node
databases   servers of Redis as processes on the network
plan        the settings of a run: seed, seconds, nodes, users, engine
stage       the world of a run: machines, nodes, servers, users
faults      what goes wrong, each kind from a random stream of its own
invariants  what holds after each step, and what holds when all is quiet
run         one run, from its seed to its outcome
batch       many runs, and what they were like
shrink      a smaller run that fails in the same way
"""
