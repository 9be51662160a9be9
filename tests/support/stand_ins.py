"""Programs for machines that don't have them, as far as examples/chat.sh uses them; `tools.py` puts them in place.

`jq` runs its programs in jq's own engine (libjq, by a package of PyPI). `nc` is as unhelpful as OpenBSD's: it doesn't
end because the other side has gone.
"""

import sys


def jq(flags: str, program: str) -> None:
    """`jq -r` or `-nc`: one program over the JSON of standard input, or over nothing."""
    import jq

    compiled = jq.compile(program)
    given = compiled.input_value(None) if "n" in flags else compiled.input_text(sys.stdin.read())
    print("\n".join(given.all()) if "r" in flags else given.text())


def nc(host: str, port: str) -> None:
    """Both ways, until writing fails, or both sides have said all."""
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
