// The client's side of the JSON dialect: frames go in, frames and events come out. No I/O, no clock, no promises.
//
// A session outlives its connection:
//
//   nameless --claim--> claiming --welcome--> online --connectionLost--> offline --reconnect--> resuming
//                          ^                    ^                                              |     |
//                          |                    +-- pong -- returning <--- welcome, resumed ---+     |
//                          +------------------------------------------------ bad_token --------------+
//
// After every call, `feed` included, send what `take` returns. When the connection is gone call `connectionLost`, then
// `reconnect` for the next one. If `stranded` is true, leave this node and connect to another one.
//
// It decides as `ClientProtocol` of the Python library does. clients/vectors holds both to that.

import { NameLost, NotARelay, Refused } from "./errors.js";
import { Outbox, sizeOf } from "./outbox.js";

const MAX_LINE = 65536; // the default of a node's --max-line

// The fields that each frame of a node has to have: a string, a number or a boolean.
const SHAPES = {
  welcome: "name:s token:s resumed:b grace:n window:n window_bytes:n ping:n node:s",
  paired: "name:s chat:s acks:s resumed:b",
  msg: "id:n from:s chat:s text:s at:n",
  ack: "id:n chat:s",
  unconfirmed: "from:n to:n reason:s",
  away: "name:s grace:n",
  back: "name:s",
  left: "name:s reason:s",
  presence: "name:s state:s",
  invited: "name:s chat:s wait:n",
  missed: "name:s chat:s",
  ringing: "name:s wait:n",
  blocked: "name:s",
  unblocked: "name:s",
  typing: "name:s chat:s",
  error: "code:s message:s",
  moving: "",
  replaced: "",
  pong: "",
  bye: "",
};

/** A request to the node. `outcome` is null until it is known: then the event that answers, or an error. */
class Request {
  constructor(kind, frame, about = "", ref = null, mark = 0) {
    Object.assign(this, { kind, frame, about, ref, mark });
    this.outcome = null;
    this.givenUp = false; // for a call: the program gave it up
    this.written = false; // a node may have received it
    this.answered = null; // a function that is called with the outcome
  }
}

export class Core {
  /**
   * `ask`: whether the program answers calls itself. `proof`: returns the signed token for the name, or null; it is
   * called for each claim and each resume.
   */
  constructor({ ask = false, maxLine = MAX_LINE, proof = () => null } = {}) {
    this.state = "nameless";
    this.stranded = false; // this node stops, or can't resume the session now: connect to another one
    this.unproved = false; // the node refused the proof of the name
    this.grace = 30; // seconds for which the node keeps the session without a connection
    this.name = this.token = this.node = this.partner = this.chat = null;
    this.left = null; // the id of the last chat that is known to be over
    this.pingEvery = 30;
    this.acks = "node"; // the side that acknowledges for the partner
    this.last = 0; // the highest id of the partner's texts in this chat
    this.acknowledged = 0; // … that was acknowledged
    this.acknowledgedAt = null; // the time of that text
    this.blocked = new Set();
    this.maxLine = maxLine;
    this.outbox = new Outbox(0, 0);
    this.open = []; // the requests without an outcome, oldest first
    this.pings = [];
    this.forsaken = []; // names in calls that were given up without the node's knowledge
    this.output = [];
    this.mark = 0;
    this.ask = ask;
    this.proof = proof;
    this.why = ""; // why the other side ended the session
  }

  // --- requests

  claim(name) {
    return this.request("claim", this.helloAs(name), name);
  }

  /** Resume a saved session, in place of `claim`. */
  recall(memory) {
    for (const key of ["name", "token", "chat", "partner", "left"]) this[key] = memory[key] ?? null;
    this.acks = memory.acks;
    this.last = this.acknowledged = memory.last;
    this.acknowledgedAt = memory.at ?? null;
    this.outbox.recall(memory.sent, memory.pending);
    this.blocked = new Set(memory.blocked);
    const request = new Request("claim", this.hello(), memory.name);
    this.open.push(request);
    this.reconnect();
    return request;
  }

  call(name, ref = null) {
    return this.request("call", { type: "to", name }, name, ref);
  }

  /** Give up this call, or the oldest one without an outcome. It then makes no chat. */
  cancel(call = this.first("call")) {
    if (!call || call.outcome || call.givenUp) return;
    if (this.state === "online") {
      call.givenUp = true;
      this.write({ type: "cancel", ref: call.mark });
    } else {
      this.forsake(call);
    }
  }

  accept(chat, ref = null) {
    return this.request("accept", { type: "accept", chat }, chat, ref);
  }

  decline(chat) {
    this.say({ type: "decline", chat });
  }

  block(name, ref = null) {
    return this.request("block", { type: "block", name }, name, ref);
  }

  unblock(name, ref = null) {
    return this.request("unblock", { type: "unblock", name }, name, ref);
  }

  typing() {
    if (this.chat !== null) this.say({ type: "typing", chat: this.chat });
  }

  leave(ref = null) {
    return this.request("leave", { type: "leave", ...(this.chat !== null && { chat: this.chat }) }, "", ref);
  }

  who(name, ref = null) {
    return this.request("who", { type: "who", name }, name, ref);
  }

  quit() {
    return this.first("quit") ?? this.request("quit", { type: "quit" });
  }

  /** Give the name back although requests are open. With `now` the node doesn't wait for outcomes. */
  farewell(now) {
    if (!["nameless", "offline", "over"].includes(this.state)) this.write({ type: "quit", ...(now && { now }) });
  }

  ping() {
    if (this.state === "online") this.put(new Request("ping", { type: "ping" }));
  }

  /** Send a text to the partner. Call it only while `room(text)` is true. */
  send(text) {
    if (typeof text !== "string" || !text) throw new TypeError("a text must be a string, and not empty");
    if (!text.isWellFormed()) throw new TypeError("a text must be Unicode: this has half of a surrogate pair");
    if (this.chat === null) throw new Refused("not_paired", "nobody is chatting with you");
    const entry = this.outbox.add(text, this.chat, this.acks);
    if (this.tooLong(entry)) {
      this.outbox.dropLast();
      throw new Refused("too_long", `too long: a text and its frame may take ${this.maxLine} bytes`);
    }
    this.writeTexts();
    return entry;
  }

  tooLong(entry) {
    return sizeOf(JSON.stringify(messageOf(entry))) > this.maxLine;
  }

  room(text) {
    return this.outbox.room(sizeOf(text));
  }

  /** Acknowledge this message and all before it. A message of an earlier chat is ignored. */
  acknowledge(message) {
    if (message.chat !== this.chat || message.id <= this.acknowledged) return;
    this.acknowledged = message.id;
    this.acknowledgedAt = message.at;
    this.writeAck();
  }

  /** Whether the node may hold a request, and a ping behind it, until the partner has acknowledged. */
  get waitingOnPartner() {
    return this.outbox.pending.length > 0 && this.open.length > 0;
  }

  /** What `recall` needs in another page, or null without a session. */
  get memory() {
    if (this.name === null || this.token === null || this.state === "over") return null;
    const { name, token, chat, partner, acks, left } = this;
    const pending = this.outbox.pending.map(({ id, text, chat, by, tried }) => ({ id, text, chat, by, tried }));
    const rest = { last: this.acknowledged, at: this.acknowledgedAt, blocked: [...this.blocked], left, pending };
    return { version: 1, name, token, sent: this.outbox.sent, chat, partner, acks, ...rest };
  }

  // --- connections

  connectionLost(reason) {
    this.output = [];
    this.pings = [];
    for (const request of [...this.open]) if (request.givenUp) this.forsake(request);
    this.stranded = this.unproved = false;
    if (this.name === null) return [];
    const served = this.state === "online" || this.state === "returning";
    this.state = "offline";
    return served ? [{ type: "dropped", reason }] : [];
  }

  /** There is a new connection: ask its node to resume the session, or to give the name to a new one. */
  reconnect() {
    if (this.name === null) {
      const claim = this.first("claim");
      if (claim) this.put(claim);
      return;
    }
    this.state = this.token ? "resuming" : "claiming";
    this.write(this.hello());
  }

  hello() {
    if (this.token === null) return this.helloAs(this.name);
    const { name, token, chat, acknowledged, acknowledgedAt, left, ask } = this;
    const auth = this.proof();
    return {
      type: "hello", v: 1, name, acks: true, token,
      ...(chat !== null && { chat }),
      sent: this.outbox.promise(),
      ...(acknowledged && { last: acknowledged }),
      ...(acknowledged && acknowledgedAt !== null && { at: acknowledgedAt }),
      ...(left !== null && { left }),
      ...(ask && { ask }),
      ...(auth !== null && { auth }),
    };
  }

  helloAs(name) {
    const auth = this.proof();
    return { type: "hello", v: 1, name, acks: true, ...(this.ask && { ask: true }), ...(auth !== null && { auth }) };
  }

  // --- frames

  /** The frames to send now, as the texts of messages. Each is returned once. */
  take() {
    const taken = this.output;
    this.output = [];
    return taken;
  }

  /** Process a message of the node, and return the events. Throws `NotARelay` if it is no frame. */
  feed(text) {
    const frame = decode(text);
    const told = frame ? HANDLERS[frame.type](this, frame) : [];
    this.writeTexts();
    return told;
  }

  write(frame) {
    this.output.push(JSON.stringify(frame));
  }

  /** Write a frame that has no answer and makes no sense on a later connection. */
  say(frame) {
    if (this.state === "online") this.write(frame);
  }

  request(kind, frame, about = "", ref = null) {
    if (this.name === null && kind !== "claim" && kind !== "quit") throw new NameLost("no name yet");
    this.mark += 1;
    const request = new Request(kind, frame, about, ref, this.mark);
    const line = JSON.stringify(marked(request));
    if (!about.isWellFormed()) throw new Refused("name_invalid", "a name must be Unicode text", about);
    if (sizeOf(line) > this.maxLine) throw new Refused("too_long", `too long: a line may take ${this.maxLine} bytes`, about);
    this.open.push(request);
    if (kind === "claim") this.state = "claiming";
    if (this.state === "online" || this.state === "nameless" || kind === "claim") this.put(request);
    return request;
  }

  put(request) {
    request.written = true;
    this.write(marked(request));
    if (request.kind === "ping" || request.kind === "return") this.pings.push(request);
  }

  // --- what the handlers below use

  first(...kinds) {
    return this.open.find((request) => kinds.includes(request.kind));
  }

  marked(ref) {
    return ref == null ? undefined : this.open.find((request) => request.mark === ref);
  }

  /** The request that an answer belongs to: the one with the mark, or else the oldest of this kind. */
  about(ref, kind) {
    return this.marked(ref) ?? this.first(kind);
  }

  answer(request, outcome) {
    if (!request || request.outcome) return;
    request.outcome = outcome;
    this.open.splice(this.open.indexOf(request), 1);
    request.answered?.(outcome);
  }

  forsake(call) {
    if (call.written) this.forsaken.push(call.about);
    this.answer(call, givenUp(call));
  }

  writeTexts() {
    if (this.state === "online") for (const entry of this.outbox.toWrite()) this.write(messageOf(entry));
  }

  writeAck() {
    if (!this.acknowledged || !["online", "returning"].includes(this.state)) return;
    this.write({ type: "ack", id: this.acknowledged, ...(this.chat !== null && { chat: this.chat }) });
  }

  /** Send what has no outcome again, once the node has reported the session's state. */
  goOn() {
    this.state = "online";
    this.forsaken = [];
    for (const name of this.blocked) this.write({ type: "block", name });
    const { outbox } = this;
    const told = settled([...outbox.forsake(this.chat), ...outbox.giveUpIf((entry) => this.tooLong(entry))]);
    this.writeAck();
    this.writeTexts();
    for (const request of [...this.open]) this.put(request);
    return told;
  }

  /** End a session that the other side ended. `lost` follows the outcome of every text. */
  end(code, message) {
    const told = settled(this.outbox.abandon(code));
    this.forget(message);
    this.state = code === "replaced" || code === "kicked" ? "over" : "nameless";
    this.why = message;
    return [...told, { type: "lost", code, message }];
  }

  forget(message) {
    this.name = this.token = this.partner = this.chat = this.left = null;
    for (const request of [...this.open]) this.answer(request, new NameLost(message));
    this.pings = [];
  }
}

const HANDLERS = {
  welcome(core, { name, token, node, ping, grace, window, window_bytes, max_line, resumed }) {
    Object.assign(core, { name, token, node, grace, pingEvery: ping, maxLine: max_line ?? core.maxLine });
    const joined = { type: "joined", name, node, resumed, maxLine: core.maxLine };
    if (resumed) {
      core.state = "returning";
      core.outbox.reopen(window, window_bytes);
      core.put(new Request("return", { type: "ping" }));
    } else {
      core.outbox = new Outbox(window, window_bytes);
    }
    core.answer(core.first("claim"), joined);
    return resumed ? [joined] : [joined, ...core.goOn()];
  },

  paired(core, frame) {
    let request = core.marked(frame.ref);
    const accepted = core.first("accept");
    if (!request && accepted?.about === frame.chat) request = accepted;
    const unasked = request ? request.givenUp : frame.resumed && core.forsaken.some((name) => sameName(name, frame.name));
    if (unasked && frame.chat !== core.chat) return unwanted(core, frame, request);
    if (frame.chat !== core.chat) {
      core.left = core.chat ?? core.left;
      core.last = core.acknowledged = 0;
    }
    const { name, chat, acks, resumed, last } = frame;
    Object.assign(core, { partner: name, chat, acks });
    const paired = { type: "paired", name, chat, acks, resumed, ...refOf(request) };
    core.answer(request, paired);
    core.outbox.sent = Math.max(core.outbox.sent, last ?? 0);
    return [paired, ...settled(last ? core.outbox.acknowledged(last, chat, frame.at) : [])];
  },

  msg(core, { id, from: sender, chat, text, at }) {
    if (chat !== core.chat) return [];
    if (id <= core.last) {
      core.writeAck(); // a duplicate, sent again after a resume
      return [];
    }
    core.last = id;
    return [{ type: "message", id, sender, chat, text, at }];
  },

  ack: (core, { id, chat, at }) => settled(core.outbox.acknowledged(id, chat, at)),

  unconfirmed: (core, { from, to, reason }) => settled(core.outbox.unconfirmed(from, to, reason)),

  away: (core, { name, grace, chat }) => [{ type: "away", name, grace, chat: chat ?? core.chat ?? "" }],

  back: (core, { name, chat }) => [{ type: "back", name, chat: chat ?? core.chat ?? "" }],

  left(core, frame) {
    // After a resume the node may not know the name any more.
    const name = frame.name || (core.state === "returning" ? (core.partner ?? "") : "");
    const chat = frame.chat ?? (name === core.partner ? core.chat : null);
    if (chat !== null && chat === core.left) return []; // we left this chat before the program heard of it
    if (chat !== null && chat === core.chat) {
      core.left = core.chat;
      core.partner = core.chat = null;
    }
    const request = core.about(frame.ref, "leave");
    const left = { type: "left", name, reason: frame.reason, chat: chat ?? "", ...refOf(request) };
    if (request?.kind === "leave") core.answer(request, left);
    return [left];
  },

  presence(core, { name, state, ref }) {
    const request = core.about(ref, "who");
    const presence = { type: "presence", name, state, ...refOf(request) };
    core.answer(request, presence);
    return [presence];
  },

  typing: (core, { name, chat }) => (chat === core.chat ? [{ type: "typing", name, chat }] : []),

  ringing(core, { name, wait, chat, ref }) {
    const call = core.about(ref, "call");
    return call?.givenUp ? [] : [{ type: "ringing", name, wait, chat: chat ?? "", ...refOf(call) }];
  },

  invited: (core, { name, chat, wait }) => [{ type: "invited", name, chat, wait }],

  missed(core, { name, chat }) {
    const found = core.first("accept");
    const accepted = found?.about === chat ? found : undefined;
    const missed = { type: "missed", name, chat, ...refOf(accepted) };
    core.answer(accepted, missed);
    return [missed];
  },

  blocked(core, { name, ref }) {
    const request = core.about(ref, "block");
    if (request?.about !== name) return []; // the answer to a block that was repeated after a resume
    core.blocked.add(name);
    const blocked = { type: "blocked", name, on: true, ...refOf(request) };
    core.answer(request, blocked);
    return [blocked];
  },

  unblocked(core, { name, ref }) {
    for (const one of [...core.blocked]) if (sameName(one, name)) core.blocked.delete(one);
    const request = core.about(ref, "unblock");
    const unblocked = { type: "blocked", name, on: false, ...refOf(request) };
    core.answer(request, unblocked);
    return [unblocked];
  },

  moving(core) {
    core.stranded = true;
    return [{ type: "moving" }];
  },

  replaced: (core) => core.end("replaced", "another connection took this session over"),

  pong: (core) => (core.pings.shift()?.kind === "return" ? core.goOn() : []),

  bye(core) {
    const bye = { type: "bye" };
    core.answer(core.first("quit"), bye);
    core.forget("we have quit");
    core.state = "over";
    return [bye];
  },

  error(core, { code, message, id, name, ref }) {
    if (code === "name_lost" || code === "kicked") return core.end(code, message);
    if (core.name === null && code === "bad_frame") return []; // it answers what we sent before we knew of a loss
    if (core.name !== null && ["resuming", "claiming"].includes(core.state)) return notBack(core, code, message);
    if (id != null) return settled(core.outbox.refused(id, code));
    const error = new Refused(code, message, name ?? null);
    const request = core.marked(ref);
    if (request) {
      core.answer(request, error);
      return [];
    }
    return refusal(core, error);
  },
};

/** Leave a chat whose call was answered while it was being given up, before the program hears of it. */
function unwanted(core, frame, call) {
  if (call) core.answer(call, givenUp(call));
  const told = core.chat === null ? [] : [{ type: "left", name: core.partner ?? "", reason: "left", chat: core.chat }];
  core.partner = core.chat = null;
  core.left = frame.chat;
  core.write({ type: "leave", chat: frame.chat });
  return told;
}

/** The node can't resume the session, or can't give the name back. */
function notBack(core, code, message) {
  const asked = core.first("claim");
  if (code === "bad_auth") {
    if (asked) {
      core.answer(asked, new Refused(code, message, core.name));
      return [];
    }
    core.stranded = core.unproved = true;
    return [{ type: "complaint", code, message }];
  }
  if (core.state === "resuming" && code === "bad_token") return expired(core);
  if (core.state === "claiming" && ["name_taken", "name_invalid", "bad_token"].includes(code)) {
    core.answer(asked, new Refused(code, message, core.name));
    const lost = core.end(code, message);
    return asked ? [] : lost;
  }
  core.stranded = true;
  return [];
}

/** The session is gone: claim the name again. Open requests are sent again afterwards. */
function expired(core) {
  const told = settled(core.outbox.abandon("lost"));
  const left = { type: "left", name: core.partner ?? "", reason: "lost", chat: core.chat ?? "" };
  if (core.partner !== null) told.push(left);
  core.answer(core.first("leave"), left);
  core.token = core.partner = core.chat = core.left = null;
  core.last = core.acknowledged = 0;
  told.push({ type: "expired", name: core.name });
  core.reconnect();
  return told;
}

/** Match an error without an id or a mark to its request. */
function refusal(core, error) {
  const { code, about } = error;
  if (about === null && ["bad_frame", "rate_limited"].includes(code) && core.pings[0]?.kind === "ping") {
    core.pings.shift();
    return [];
  }
  const only = { not_paired: "leave", not_called: "accept" }[code];
  const request = only ? core.first(only) : core.first("claim", "call", "who", "block", "unblock");
  if (!request && !only) return [{ type: "complaint", code, message: error.reason }];
  core.answer(request, error);
  return [];
}

function decode(text) {
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    frame = null;
  }
  const known = typeof frame?.type === "string";
  if (known && !Object.hasOwn(SHAPES, frame.type)) return null; // a frame of a newer relay
  if (known && SHAPES[frame.type].split(" ").every((field) => fits(frame, ...field.split(":")))) return frame;
  throw new NotARelay("this does not answer like a relay");
}

const fits = (frame, field, type) => !field || (typeof frame[field])[0] === type;
const MARKABLE = new Set(["call", "accept", "block", "unblock", "leave", "who"]);
const marked = ({ kind, frame, mark }) => (MARKABLE.has(kind) ? { ...frame, ref: mark } : frame);
const messageOf = ({ id, text, chat }) => ({ type: "msg", id, text, chat });
const settled = (entries) => entries.map((text) => ({ type: "settled", text }));
const refOf = (request) => (request?.ref != null ? { ref: request.ref } : {});
const givenUp = (call) => new Refused("declined", "the call was given up", call.about);

/** Whether two spellings certainly mean one name. Only the node can tell that two names differ. */
const sameName = (asked, told) => folded(asked.trim()) === folded(told);
const folded = (name) => name.normalize("NFKC").toLowerCase();
