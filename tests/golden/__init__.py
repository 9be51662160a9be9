"""Literal files of everything that others see of this code: bytes for clients, nodes and Redis, metrics, logs, options.



`code.py` alone knows where in the code each of these is made, so a move or a new name changes that file and no other.
`samples.py` makes values of a type, and `sheets.py` the texts of the files. `python -m tests.golden` writes the files.
"""
