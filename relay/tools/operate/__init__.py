"""`relay drain` and `relay kick`: an operator's requests to nodes over Redis. Its credentials make one an operator.

operator_requests.py  publishes a request to all nodes, one of which acts on it, and waits for the effect
command.py            the command line
"""
