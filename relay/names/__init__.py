"""User names: validation, and which spellings count as the same name."""
