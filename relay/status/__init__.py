"""`relay status` and `relay top`: what each node says of itself in Redis, and who reads it.

report.py     what a node says: one field of the hash <prefix>:nodes
publish.py    the node's side: says it every two seconds
gather.py     the reader's side: everyone's reports, their leases, the servers
show.py       for people, for programs
command.py    the command line
"""
