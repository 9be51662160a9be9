"""The protocol between clients and nodes: frames, commands, events, errors, and the dialects that encode them."""
