"""`relay status` and `relay top`: they show what the nodes report in Redis.

gather.py       reads all reports (relay.observe.status_report), the nodes' leases, and the state of the servers
formatting.py   formats a status for people and for programs
top.py          shows the status again and again
command.py      the command line
"""
