"""The relay beside its peers: `make benchmarks`, or `python -m benchmarks`.

load/      the one load generator for all
peers/     the peers' applications
install    the generator and the peers, pinned, into a folder outside of this tree
systems    each system as processes that can be started: two nodes, and a server where it needs one
measure    one run of the generator, with what the servers used meanwhile
runs       which runs make up the comparison
tls        what TLS costs
scale      what one user, one message, one node costs, and a model of more nodes held against a run
charts     SVG
page       docs/benchmarks.md; scalepage   the tables of docs/scaling.md
"""
