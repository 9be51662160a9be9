"""`relay drain` and `relay kick`: what an operator tells nodes over Redis. Whoever holds its credentials is one.

act.py        tells it to all nodes, of whom one acts, and watches what comes of it
command.py    the command line
"""
