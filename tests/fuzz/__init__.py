"""Fuzz targets: what strangers and Redis may send to a node, and a node to a client, as unlikely as it may be.

The other property tests say what a part does with its input; these put parts together. `make fuzz` runs both for long.
"""
