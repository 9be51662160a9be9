"""The directory in Redis: the owner of each name, its node, and the leases of the nodes."""
