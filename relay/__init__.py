"""A relay for one-to-one chat that scales out over Redis."""
