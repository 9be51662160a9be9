"""Names of users: which there are, and which count as the same one."""
