"""The usual case of a message and of its acknowledgement: all that a session does about it, in one function each.

A message that meets nothing unusual is the next one of a chat whose two sides are there, and has room in the window.
Each function first makes sure of that. If anything is unusual, it returns False before it has changed a thing, and the
caller goes the general way, where each rule has its own place: `session`, `send_window`, `chat` and `peer_handlers`.
Both ways lead to the same bytes, peer messages, windows and counters: `tests/relay/session/test_usual_case.py` drives
them side by side. A rule that is new on the general way needs its check here too.

The gain is that of fewer calls (decision 15 has the measurements). `--general-way` does without.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from relay.protocol.commands_and_events import Acked, Acknowledge, Messages, Say
from relay.session.chat import FLIGHT_BYTES
from relay.session.memory_budget import PLENTY
from relay.session.peer_messages import Ack, Text
from relay.session.send_window import ROUNDING
from relay.session.session import ACTIVE, Session
from relay.session.unacked_messages import size


def say(session: Session, command: Say) -> bool:
    """Put the client's next message under way, in a peer message of its own. See `SendWindow.say` and `Chat.say`."""
    chat, window, runtime, text = session.chat, session.send_window, session.runtime, command.text
    if session.pending is not None or session.pairing.step is not None:
        return False
    # `paused` is implied by the bytes below as well, but a message must never overtake those that wait.
    if chat is None or chat.away or chat.half_closed or chat.paused or runtime.memory_budget.allowance < PLENTY:
        return False
    id, unacked, limits, partner = window.next_id, chat.unacked, runtime.limits, chat.partner
    if window.full_id or window.unsure:
        return False
    if (command.id is not None and command.id != id) or (command.chat is not None and command.chat != chat.id):
        return False
    under_way = unacked.bytes + (len(text) if text.isascii() else len(text.encode()))
    if under_way > FLIGHT_BYTES or under_way > limits.window_bytes or unacked.count >= limits.window:
        return False
    if chat.open_generation == runtime.flush_generation:  # it joins the peer message of an earlier one
        return False

    window.seen, window.next_id = id, id + 1
    runtime.counts.accepted += 1
    unacked.add_one(id, text, runtime.now)
    mail = Text(partner.canonical_name, chat.id, session.fencing_token, id, chat.sent, at=runtime.now, texts=[text])
    chat.open_text, chat.open_generation, chat.sent = mail, runtime.flush_generation, id
    runtime.post(partner.node_id, mail)
    return True


def acknowledge(session: Session, command: Acknowledge) -> bool:
    """Acknowledge the partner's messages for a client that does it by itself. See `Chat.confirm`."""
    chat, id = session.chat, command.id
    if chat is None or not session.acks or session.pending is not None or session.pairing.step is not None:
        return False
    if session.runtime.memory_budget.allowance < PLENTY:
        return False
    if not chat.confirmed < id <= chat.received or id <= chat.retold or command.chat not in (None, chat.id):
        return False

    chat.confirmed, partner = id, chat.partner
    session.runtime.post(partner.node_id, Ack(partner.canonical_name, chat.id, id))
    return True


def text(session: Session, mail: Text) -> bool:
    """Tell the client the partner's next messages. See `peer_handlers._text` and `Chat.receive`."""
    chat, client, runtime, id, count = session.chat, session.client, session.runtime, mail.id, len(mail.texts)
    if chat is None or client is None or session.state is not ACTIVE:
        return False
    partner, received = chat.partner, chat.received
    if chat.id != mail.chat or mail.fencing_token < partner.fencing_token:
        return False
    if not count or not mail.prev <= received < id:
        return False
    if not chat.times.note_next(id, count, mail.at):  # the last check, and the first effect
        return False

    chat.gap, chat.received = False, id + count - 1
    runtime.counts.delivered += count
    client.write_buffer.tell(Messages(id, partner.display_name, chat.id, mail.texts, mail.at))
    if session.acks:
        chat.flow_unreported += size("".join(mail.texts))
    return True


def ack(session: Session, mail: Ack) -> bool:
    """Settle the client's oldest messages, which its partner has. See `SendWindow.acked` and `Outcomes.record`."""
    chat, client, runtime, outcomes = session.chat, session.client, session.runtime, session.send_window.outcomes
    if chat is None or chat.id != mail.chat or mail.at is not None or chat.paused or session.pending is not None:
        return False
    unacked, spans, times = chat.unacked, outcomes.spans, outcomes.known_times
    if not unacked.runs or not spans or times is None or client is None:
        return False
    run, span = unacked.runs[0], spans[-1]
    count = len(run.texts)
    if run.id + count - 1 != mail.id or span.last + 1 != run.id or span.reason is not None or span.chat != chat.id:
        return False
    if not times.note_next(run.id, count, run.at):  # the last check, and the first effect
        return False

    del unacked.runs[0]
    unacked.bytes -= run.bytes
    unacked.count -= count
    span.last = mail.id
    counts = runtime.counts
    counts.acknowledged += count
    counts.latency.observe(max(0.0, runtime.now - run.at - ROUNDING))
    client.write_buffer.tell(Acked(mail.id, chat.id, run.at))
    return True


# The commands and the peer messages that have a usual case.
COMMANDS: Final[Mapping[type, Callable[[Session, Any], bool]]] = {Say: say, Acknowledge: acknowledge}
MAIL: Final[Mapping[type, Callable[[Session, Any], bool]]] = {Text: text, Ack: ack}
