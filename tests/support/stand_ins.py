"""Replacements for programs that a machine may lack, with the features that examples/chat.sh uses.

`tools.py` installs them. `jq` runs its programs in jq's own engine (libjq, from a package on PyPI). `nc` behaves like
OpenBSD's, which doesn't end when the other side has closed the connection.
"""

import sys


def jq(flags: str, program: str) -> None:
    """Act as `jq -r` or `jq -nc`: run one program on the JSON of standard input, or on no input."""
    import jq

    compiled = jq.compile(program)
    given = compiled.input_value(None) if "n" in flags else compiled.input_text(sys.stdin.read())
    print("\n".join(given.all()) if "r" in flags else given.text())


def nc(host: str, port: str) -> None:
    """Copy both ways until writing fails or both sides have sent everything."""
    import os
    import socket
    import threading

    def show() -> None:
        while data := connection.recv(65536):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    with socket.create_connection((host, int(port))) as connection:
        hearing = threading.Thread(target=show)
        hearing.start()
        while data := os.read(sys.stdin.fileno(), 65536):
            connection.sendall(data)
        hearing.join()


if __name__ == "__main__":
    {"jq": jq, "nc": nc}[sys.argv[1]](*sys.argv[2:])
