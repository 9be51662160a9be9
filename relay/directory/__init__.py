"""The directory in Redis: who owns which name, on which node, under which lease."""
