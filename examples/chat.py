"""A chat in 30 lines, with nothing but Python's own library:  python3 chat.py NAME PARTNER HOST:PORT [HOST:PORT ...]

PARTNER is whom to call, or - to wait for a call. Each line that is typed is a message; an empty one or Ctrl-D ends.
This program acknowledges what it has shown. When its node dies it goes on at the next: same name, same chat, nothing
lost, nothing twice. What is said here is in docs/protocol.md, "JSON dialect".
"""

import contextlib, itertools, json, select, socket, sys, time

me, partner, *nodes = sys.argv[1:]
keyboard, session, unsettled = sys.stdin.buffer.raw, {"sent": 0, "last": 0}, {}  # unsettled: what we said, by its id

def show(who, text): print(f"{who}: {''.join(c if c.isprintable() else '?' for c in text)}", flush=True)

def chat(connection, node):
    def tell(type, **fields): connection.sendall(json.dumps({"type": type, **fields}).encode() + b"\n")
    tell("hello", name=me, acks=True, **session)  # with what is known of the session, so that it goes on
    for message in unsettled.values(): tell("msg", **message)
    ears = [node, keyboard]
    while ready := select.select(ears if "chat" in session and len(unsettled) < 16 else [node], [], [])[0]:
        if keyboard in ready and (text := keyboard.readline().decode(errors="replace").strip()):
            session["sent"] = id = session["sent"] + 1
            tell("msg", **unsettled.setdefault(id, {"id": id, "chat": session["chat"], "text": text}))
        elif keyboard in ready: ears.remove(keyboard); tell("quit")
        if node not in ready: continue
        frame = json.loads(node.readline())  # nothing, or half a line: the connection is lost, and this fails
        session.update({key: frame[key] for key in ("token", "chat") if key in frame})
        match frame["type"]:
            case "welcome" if "chat" not in session and partner != "-": tell("to", name=partner)
            case "msg": show(frame["from"], frame["text"]); session["last"] = frame["id"]; tell("ack", id=frame["id"])
            case "ack": [unsettled.pop(id) for id in list(unsettled) if id <= frame["id"]]
            case "unconfirmed" if lost := range(frame["from"], frame["to"] + 1):  # it may be told again
                [show("* lost", unsettled.pop(id)["text"]) for id in list(unsettled) if id in lost]
            case "left": tell("quit")
            case "error" if frame["code"] == "unavailable": return
            case "bye" | "error": sys.exit(frame.get("message"))

for node in itertools.cycle(nodes):
    with contextlib.suppress(OSError, ValueError), socket.create_connection(node.rsplit(":", 1), 5) as connection:
        chat(connection, connection.makefile("rb", buffering=0))
    time.sleep(0.2)
