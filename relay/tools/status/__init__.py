"""`relay status` and `relay top`: they show what the nodes report in Redis.

gather.py     reads all reports (relay.observe.status_report), the nodes' leases, and the state of the servers
show.py       formats a status for people and for programs
live.py       shows the status again and again
command.py    the command line
"""
