"""The relay beside its peers: `make benchmarks`, or `python -m benchmarks`.

load/      the load generator for all systems
peers/     the peers' applications
install    installs the generator and the peers, pinned, in a folder outside of this tree
systems    each system as processes: two nodes, and a server if the system needs one
measure    one run of the generator, with the CPU and memory that the servers used
runs       the runs of the comparison
web        the relay over WebSocket beside its peers, in turns
tls        the cost of TLS
scale      the cost of a user, a message and a node, and a model of more nodes, compared with runs
usual_case what the usual case of a message saves, by itself: `python -m benchmarks.usual_case`
charts     SVG charts
page       docs/benchmarks.md
webpage    the section about WebSocket
scalepage  the tables of docs/scaling.md
"""
