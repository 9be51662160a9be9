"""What others see of this code, as literal files: bytes for clients, nodes and Redis, metrics, log events, options.

`code.py` alone knows where in the code each of these is made; a move or a new name changes that file and no other.
`samples.py` makes values of a type, `sheets.py` the files' texts. `python -m tests.golden` writes the files anew.
"""
