"""`relay status` and `relay top`: what each node says of itself in Redis, and who reads it.

gather.py     everyone's reports (relay.observe.status_report), their leases, the servers
show.py       for people, for programs
command.py    the command line
"""
