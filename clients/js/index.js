// The JavaScript client of pair-relay, for browsers, Node.js, Deno and Bun:
//
//   const chat = await connect("wss://relay.example/ws", { name: "alice" });
//   await chat.call("bob");
//   const receipt = await chat.send("hi");
//   await receipt.delivered;
//   for await (const event of chat) …
//   await chat.close();

import { Core } from "./core.js";
import { ConnectionFailed, ConnectionLost, NotConfirmed, Refused } from "./errors.js";
import { Link } from "./link.js";
import { Store } from "./store.js";

export * from "./errors.js";

const CLAIM_WAIT = 10; // seconds for the answer to a claim
const NAME_PAUSE = 0.5; // seconds between two claims of a taken name
const FAREWELL_WAIT = 1; // seconds for giving the name back in a hurry
// Texts that were taken, after which they are acknowledged even if more are waiting: a fraction of a default window, so
// that the partner need not stop.
const ACK_AFTER = 32;

/** The outcome of one text. */
class Receipt {
  #text;
  #settle;

  constructor(text) {
    this.#text = text;
    /** Resolves with the side that acknowledged, `client` or `node`. Rejects if no acknowledgement will come. */
    this.delivered = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.delivered.catch(() => {}); // a program that doesn't look is not ended for it
  }

  get id() {
    return this.#text.id;
  }

  get text() {
    return this.#text.text;
  }

  /** `pending`, `delivered`, `unconfirmed` or `refused`. */
  get status() {
    return this.#text.status;
  }

  /** Why it isn't delivered, or an empty string. */
  get detail() {
    return this.#text.detail;
  }

  /** Its Unix time as the partner sees it, if it is known. */
  get at() {
    return this.#text.at;
  }

  /** Internal: the outcome is known, or never will be (`failure`). */
  settle(failure) {
    const { status, detail, by } = this.#text;
    if (status === "delivered") this.#settle.resolve(by);
    else if (status === "unconfirmed") this.#settle.reject(new NotConfirmed(detail));
    else if (status === "refused") this.#settle.reject(new Refused(detail, `the relay refused the text (${detail})`));
    else this.#settle.reject(failure);
  }
}

/** A session under a name, with at most one partner at a time. `connect` makes it. */
export class Chat extends EventTarget {
  #core;
  #link;
  #store;
  #manual;
  #receipts = new Map();
  #requests = new Set(); // what ends the promises of open requests
  #queue = []; // events that the program has not taken yet
  #looping = false; // a loop takes the events, and listeners hear of each when it does
  #listening = false;
  #hungry = null; // continues a loop that waits for an event
  #inHand = null; // the message that the loop has; taken once it asks for the next event
  #taken = null; // the last message that was taken
  #unacknowledged = 0; // messages taken without an acknowledgement
  #turn = Promise.resolve(); // serves senders in their order
  #ended = false;
  #changed = []; // continues those who wait for a change

  /** Internal: see `connect`. */
  constructor(urls, { ask, auth, acks, reconnectTimeout, inOrder, state, socket }) {
    super();
    this.#manual = acks === "manual";
    this.#core = new Core({ ask, proof: () => this.#link.proof });
    const tell = (told) => this.#tell(told);
    this.#link = new Link(this.#core, urls, { auth, reconnectTimeout, inOrder, socket, tell });
    this.#store = state;
  }

  get name() {
    return this.#core.name;
  }

  get partner() {
    return this.#core.partner;
  }

  /** The id of the present chat, or null. An event with another id belongs to an earlier chat. */
  get chat() {
    return this.#core.chat;
  }

  /** The longest frame that the node accepts, in bytes. */
  get maxLine() {
    return this.#core.maxLine;
  }

  /** Whether a node serves the session. Otherwise this client is looking for another connection. */
  get online() {
    return this.#core.state === "online";
  }

  /** Whether nothing more will happen. */
  get over() {
    return this.#link.over;
  }

  /** The address of the present connection, or of the last one. */
  get url() {
    return this.#link.url;
  }

  /** Attempts to reconnect since the connection was lost. */
  get tries() {
    return this.#link.tries;
  }

  /** The receipts of the texts without an outcome, oldest first. */
  get pending() {
    return [...this.#receipts.values()];
  }

  // --- requests

  /** Claim a name after `lost`, or continue the session that a reload left under it. */
  async claim(name) {
    if (this.#store) this.#open(name);
    const saved = this.#core.node === null ? this.#link.store?.load() : null;
    let timer;
    const late = new Promise((_, reject) => {
      const fail = () => reject(this.#giveUp(new ConnectionFailed(`${this.url} does not answer`)));
      timer = setTimeout(fail, CLAIM_WAIT * 1000);
    });
    const joined = this.#ask(() => (saved ? this.#recall(saved) : this.#core.claim(name)));
    return (await Promise.race([joined, late]).finally(() => clearTimeout(timer))).name;
  }

  /** Start a chat, and leave the present one. A `signal` that aborts gives the call up. */
  async call(name, { ref, signal } = {}) {
    signal?.throwIfAborted();
    let request;
    const cancel = () => {
      if (request) this.#core.cancel(request);
      this.#link.flush();
    };
    const paired = this.#ask(() => (request = this.#core.call(name, ref)));
    signal?.addEventListener("abort", cancel);
    return (await paired.finally(() => signal?.removeEventListener("abort", cancel))).name;
  }

  /** Give up the call that is under way. */
  cancelCall() {
    this.#core.cancel();
    this.#link.flush();
  }

  /** Accept a call (`invited`). */
  async accept(call, { ref } = {}) {
    const outcome = await this.#ask(() => this.#core.accept(call.chat, ref));
    if (outcome.type === "paired") return outcome.name;
    throw new Refused("not_called", `${call.name} does not call any more`, call.name);
  }

  decline(call) {
    this.#core.decline(call.chat);
    this.#link.flush();
  }

  /** Refuse the calls of a user for the rest of this session. */
  async block(name, { ref } = {}) {
    await this.#ask(() => this.#core.block(name, ref));
  }

  async unblock(name, { ref } = {}) {
    await this.#ask(() => this.#core.unblock(name, ref));
  }

  /** Tell the partner that the user is typing, if it can be told at once. */
  typing() {
    this.#core.typing();
    this.#link.flush();
  }

  /** The presence of a user: `free`, `busy`, `away` or `offline`. */
  async who(name, { ref } = {}) {
    return (await this.#ask(() => this.#core.who(name, ref))).state;
  }

  /** Send a text. It waits only while the window is full. */
  async send(text) {
    const { chat } = this;
    const before = this.#turn;
    let done;
    this.#turn = new Promise((resolve) => (done = resolve));
    await before;
    try {
      if (typeof text === "string" && !this.#core.room(text)) this.#acknowledge(); // or two could wait for each other
      while (!this.#link.over && this.chat === chat && typeof text === "string" && !this.#core.room(text)) {
        await new Promise((resolve) => this.#changed.push(resolve));
      }
      this.#check();
      if (chat === null || this.chat !== chat) throw new Refused("not_paired", "nobody is chatting with you");
      const entry = this.#core.send(text);
      const receipt = new Receipt(entry);
      this.#receipts.set(entry, receipt);
      this.#link.flush();
      return receipt;
    } finally {
      done();
    }
  }

  /** End the chat and keep the name. */
  async leave({ ref } = {}) {
    await this.#ask(() => this.#core.leave(ref));
  }

  /** Give the name back, and end. Every text gets its outcome first, or with `now` within a second or never. */
  async close({ now = false } = {}) {
    if (this.#link.over) return;
    if (this.#core.name === null || (now && this.#core.state === "offline")) {
      this.#giveUp(null);
      return;
    }
    if (!now) {
      const open = this.pending;
      await this.#ask(() => this.#core.quit()).catch((error) => {
        if (open.some((receipt) => receipt.status === "pending")) throw error;
      });
      return;
    }
    this.#core.cancel();
    this.#core.farewell(true);
    this.#link.flush();
    const timer = setTimeout(() => this.#giveUp(new ConnectionLost("closed")), FAREWELL_WAIT * 1000);
    while (!this.#link.over) await new Promise((resolve) => this.#changed.push(resolve));
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose ?? "asyncDispose"]() {
    await this.close();
  }

  // --- events

  /** A loop over the events. A message counts as taken when the loop asks for the next event. */
  [Symbol.asyncIterator]() {
    this.#looping = true;
    return {
      next: () => this.#next(),
      return: async (value) => {
        this.#looping = false;
        return { done: true, value };
      },
    };
  }

  addEventListener(...words) {
    super.addEventListener(...words);
    this.#listening = true;
    queueMicrotask(() => this.#serveListeners());
  }

  /** Acknowledge a message and all before it. Without one: the message that the loop has. */
  acknowledge(message = this.#inHand ?? this.#taken) {
    if (!message) return;
    if (message === this.#inHand) this.#inHand = null;
    this.#unacknowledged = 0;
    this.#core.acknowledge(message);
    this.#link.flush();
  }

  async #next() {
    if (this.#inHand) this.#take(this.#inHand);
    this.#inHand = null;
    if (this.#unacknowledged >= ACK_AFTER || !this.#queue.length) this.#acknowledge();
    while (!this.#queue.length) {
      if (this.#link.over) {
        this.#looping = false;
        if (this.#link.failure) throw this.#link.failure;
        return { done: true, value: undefined };
      }
      await new Promise((resolve) => (this.#hungry = resolve));
    }
    const value = this.#queue.shift();
    if (value.type === "message") this.#inHand = value;
    this.#dispatch(value);
    return { done: false, value };
  }

  #serveListeners() {
    if (this.#looping || !this.#listening) return;
    for (let event; (event = this.#queue.shift()); ) {
      const kept = !this.#dispatch(event);
      if (event.type === "message" && !kept) this.#take(event);
      if (this.#unacknowledged >= ACK_AFTER) this.#acknowledge();
    }
    this.#acknowledge();
  }

  #dispatch(event) {
    return this.dispatchEvent(new CustomEvent(event.type, { cancelable: true, detail: event }));
  }

  #take(message) {
    this.#taken = message;
    this.#unacknowledged += 1;
  }

  #acknowledge() {
    if (this.#manual || !this.#unacknowledged) return;
    this.#unacknowledged = 0;
    this.#core.acknowledge(this.#taken);
    this.#link.flush();
  }

  // --- inside

  /** Internal: connect, claim the name, and serve the session until it ends. */
  async begin(name) {
    const socket = await this.#link.first();
    this.#link.run(socket);
    await this.claim(name);
  }

  #open(name) {
    const trouble = (error) => {
      const message = `can't keep the session for a reload: ${error?.message ?? error}`;
      this.#tell([{ type: "complaint", code: "not_kept", message }]);
    };
    try {
      this.#link.store?.forget();
      const storage = typeof this.#store === "function" ? this.#store() : this.#store;
      this.#link.store = new Store(storage, name, trouble);
    } catch (error) {
      this.#link.store = null;
      trouble(error);
    }
  }

  #recall(saved) {
    const request = this.#core.recall(saved);
    this.#link.store.adopt(this.#core.outbox.pending);
    for (const entry of this.#core.outbox.pending) this.#receipts.set(entry, new Receipt(entry));
    return request;
  }

  #giveUp(failure) {
    this.#core.state = "over";
    this.#link.giveUp(failure);
    return this.#link.failure ?? failure;
  }

  #check() {
    if (this.#link.over) throw this.#link.failure ?? new ConnectionLost("the connection is closed");
  }

  /** Send a request, and wait for its outcome. */
  async #ask(ask) {
    this.#check();
    const request = ask();
    const outcome = new Promise((resolve, reject) => {
      const settle = (told) => {
        this.#requests.delete(settle);
        if (told instanceof Error) reject(told);
        else resolve(told);
      };
      this.#requests.add(settle);
      request.answered = settle;
    });
    this.#link.flush();
    return outcome;
  }

  #tell(told) {
    this.#queue.push(...told.map((event) => (event.type === "settled" ? this.#settled(event.text) : event)));
    if (this.#link.over && !this.#ended) this.#end();
    for (const resume of this.#changed.splice(0)) resume();
    this.#hungry?.();
    this.#hungry = null;
    this.#serveListeners();
  }

  #settled(text) {
    const receipt = this.#receipts.get(text);
    this.#receipts.delete(text);
    receipt.settle();
    return { type: "settled", receipt };
  }

  #end() {
    this.#ended = true;
    const failure = this.#link.failure ?? new ConnectionLost("the connection is closed");
    for (const settle of [...this.#requests]) settle(failure);
    for (const receipt of this.#receipts.values()) receipt.settle(failure);
    this.#receipts.clear();
    this.#queue.push({ type: "close", reason: this.#link.failure?.message ?? "" });
  }
}

/**
 * Connect to one of these nodes, claim a name, and return the chat. Throws `ConnectionFailed` if none answers, and
 * `Refused` if the name is refused. index.d.ts describes the options.
 */
export async function connect(urls, options = {}) {
  const { name, auth, ask = false, acks = "taken", reconnectTimeout, claimTimeout = 0, inOrder = false } = options;
  const { state = null, WebSocket: socket = globalThis.WebSocket } = options;
  if (typeof name !== "string") throw new TypeError("connect needs a name");
  if (!socket) throw new TypeError("there is no WebSocket here: Node.js has it from version 22 on");
  const places = [urls].flat().map(placeOf);
  if (!places.length) throw new TypeError("connect needs at least one address");
  const deadline = Date.now() + 1000 * claimTimeout;
  for (;;) {
    const chat = new Chat(places, { auth, ask, acks, reconnectTimeout, inOrder, state, socket });
    try {
      await chat.begin(name);
      return chat;
    } catch (error) {
      await chat.close({ now: true });
      if (error.code !== "name_taken" || Date.now() >= deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, NAME_PAUSE * 1000));
  }
}

/** The address of a node. In a page it may be relative to that. */
function placeOf(url) {
  const place = new URL(url, globalThis.location?.href);
  place.protocol = place.protocol.replace("http", "ws");
  return place.href;
}
