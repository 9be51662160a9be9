"""The same application as socketio.js, with python-socketio and its Redis manager, on uvicorn with uvloop."""

import sys
from typing import Any

import socketio
import uvicorn

port, redis_port = sys.argv[1:3]
manager = socketio.AsyncRedisManager(f"redis://127.0.0.1:{redis_port}")
server = socketio.AsyncServer(async_mode="asgi", client_manager=manager)


@server.event  # type: ignore[untyped-decorator]
async def name(session_id: str, who: str) -> None:
    """Log in: join a room with the user's name."""
    await server.enter_room(session_id, who)
    await server.emit("ok", to=session_id)


@server.event  # type: ignore[untyped-decorator]
async def msg(_session_id: str, said: dict[str, Any]) -> None:
    """Send a text to the users in a room."""
    await server.emit("msg", {"id": said["id"], "text": said["text"]}, to=said["to"])


uvicorn.run(socketio.ASGIApp(server), host="127.0.0.1", port=int(port), log_level="warning", loop="uvloop")
