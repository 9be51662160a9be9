// Keeps a session connected over WebSocket: it dials, pings, and reconnects when the connection is gone.

import { ConnectionFailed, ConnectionLost, NotARelay } from "./errors.js";

const PROTOCOL = "pair-relay.1";
// All in seconds.
const CONNECT_WAIT = 10; // for a connection
const WELCOME_WAIT = 6; // for a resume; longer than a node may take to ask a silent partner
const CLAIM_WAIT = 3; // for the answer to a claim, if there are other nodes to ask
const PING_EVERY = 10;
const PING_SOON = 3; // while a text has no acknowledgement
const PONG_WAIT = 10;
const PONG_SOON = 3; // after a sign that the network is another one, or that this machine slept
const RECHECK = 0.1; // if this page was suspended, the pong arrived long ago and only has to be read
const LATE = 5; // a timer that is this late tells of a sleep
const FIRST_PAUSE = 0.25; // at most; all clients of a node lose it at the same moment
const PAUSE = 0.5; // at most, before the second try; it doubles with each further one
const LONGEST_PAUSE = 5;

const after = (seconds, act) => setTimeout(act, seconds * 1000);

export class Link {
  constructor(core, urls, { auth, reconnectTimeout, inOrder, socket, tell }) {
    Object.assign(this, { core, urls, auth, reconnectTimeout, tell, Socket: socket });
    this.turn = inOrder ? 0 : Math.floor(Math.random() * urls.length); // clients spread over the nodes
    this.store = null; // where the session is saved
    this.url = urls[this.turn];
    this.proof = null;
    this.failure = null; // why the session ended, if it did not quit
    this.over = false;
    this.tries = 0; // attempts since the connection was lost
    this.elsewhere = urls.length - 1; // nodes still to ask for a name if this one doesn't answer
    this.heard = 0; // messages so far
    this.cut = null; // ends the present connection
    this.hurry = null; // ends the present pause
  }

  /** Make the first connection. Throws `ConnectionFailed`, and what `auth` throws. */
  async first() {
    await this.prove();
    for (let left = this.urls.length; ; left--) {
      try {
        return await this.dial();
      } catch (error) {
        if (left <= 1) throw error;
      }
    }
  }

  /** Serve the session on this connection and those that follow it. `failure` says afterwards why it ended. */
  async run(socket) {
    const unwatch = watchBrowser(() => this.nudge());
    const { core } = this;
    while (socket) {
      const why = await this.serve(socket);
      if (this.done) break;
      const claiming = core.name === null && core.state === "claiming";
      if (core.name === null && !(claiming && this.elsewhere-- > 0)) {
        this.failure = why;
        break;
      }
      this.tell(core.connectionLost(why.message));
      socket = await this.find(claiming);
      if (socket) core.reconnect();
      else if (!this.done) this.failure = this.trouble ?? why;
    }
    unwatch();
    this.over = true;
    this.tell([]);
  }

  get done() {
    return this.failure !== null || this.core.state === "over";
  }

  /** End the session here, whatever the node says. */
  giveUp(failure) {
    if (!this.over) this.failure ??= failure;
    this.cut?.(failure);
    this.hurry?.();
  }

  /** Save the session, then send what the core has to say: the node never knows more than a reload would. */
  flush() {
    this.store?.save(this.core);
    if (this.socket) for (const text of this.core.take()) this.socket.send(text);
  }

  /** The network or this machine came back, or may have gone: find out at once. */
  nudge() {
    this.hurry?.();
    if (this.socket) this.probe(PONG_SOON);
  }

  // --- from one connection to the next

  dial() {
    const url = (this.url = this.urls[this.turn++ % this.urls.length]);
    return new Promise((resolve, reject) => {
      const socket = new this.Socket(url, PROTOCOL);
      const fail = (why) => {
        clearTimeout(timer);
        socket.onopen = socket.onclose = null;
        socket.close();
        reject(new ConnectionFailed(why));
      };
      const timer = after(CONNECT_WAIT, () => fail(`${url} does not answer`));
      socket.onclose = () => fail(`can't connect to ${url}`);
      socket.onerror = () => {}; // a close follows
      socket.onopen = () => {
        clearTimeout(timer);
        resolve(socket);
      };
    });
  }

  async prove() {
    this.proof = (await this.auth?.()) ?? null;
  }

  async find(claiming) {
    const deadline = Date.now() + 1000 * (this.reconnectTimeout ?? this.core.grace);
    this.trouble = null;
    for (this.tries = 0; !this.done; ) {
      const most = this.tries ? Math.min(LONGEST_PAUSE, PAUSE * 2 ** (this.tries - 1)) : FIRST_PAUSE;
      const least = this.tries ? most / 2 : 0;
      await this.pause(least + Math.random() * (most - least));
      if (this.done) return null;
      this.tries += 1;
      try {
        const socket = await this.dial();
        if (this.done || !(await this.proved())) socket.close();
        else return socket;
      } catch {
        // the next node may answer
      }
      if (claiming || Date.now() > deadline) return null;
      this.tell([]);
    }
    return null;
  }

  async proved() {
    try {
      await this.prove();
      return !this.done;
    } catch (error) {
      this.trouble = new ConnectionLost(`no proof of the name: ${error?.message ?? error}`);
      this.tell([{ type: "complaint", code: "no_proof", message: this.trouble.message }]);
      return false;
    }
  }

  pause(seconds) {
    return new Promise((resolve) => {
      const timer = after(seconds, resolve);
      this.hurry = () => {
        clearTimeout(timer);
        this.hurry = null;
        resolve();
      };
    });
  }

  // --- one connection

  /** Read and write until the connection ends. Returns why, as an error. */
  serve(socket) {
    return new Promise((resolve) => {
      this.socket = socket;
      this.cut = (why) => {
        for (const timer of [this.pinging, this.waiting]) clearTimeout(timer);
        socket.onmessage = socket.onclose = this.socket = this.cut = null;
        socket.close(1000);
        resolve(why);
      };
      socket.onclose = ({ code }) => {
        const ended = { 4000: "replaced", 4001: "kicked" }[code];
        if (ended && this.core.state !== "over") this.tell(this.core.end(ended, ENDED[ended]));
        this.ended();
        this.cut?.(new ConnectionLost(`the connection to ${this.url} was lost`));
      };
      socket.onmessage = ({ data }) => this.hear(data);
      this.flush();
      this.watch();
    });
  }

  hear(data) {
    const { core } = this;
    this.heard += 1;
    try {
      if (typeof data !== "string") throw new NotARelay("this does not answer like a relay");
      const told = core.feed(data);
      if (core.state === "online") this.tries = 0;
      this.flush();
      this.tell(told);
    } catch (error) {
      if (!(error instanceof NotARelay)) throw error;
      this.cut?.(error);
      return;
    }
    this.ended();
    if (core.unproved) this.trouble = new ConnectionLost(`${this.url} does not accept the proof of the name`);
    if (core.stranded) this.cut?.(new ConnectionLost(`the node at ${this.url} is going away or can't serve now`));
  }

  /** Leave the connection if the session is over: nothing follows. */
  ended() {
    if (this.core.state !== "over") return;
    if (this.core.why) this.failure ??= new ConnectionLost(this.core.why);
    this.cut?.(this.failure);
  }

  /** Give the connection up if the node doesn't resume the session in time, or answers no ping. */
  watch() {
    const { core } = this;
    const wait = core.state === "resuming" ? WELCOME_WAIT : this.elsewhere > 0 ? CLAIM_WAIT : CONNECT_WAIT;
    this.waiting = after(wait, () => {
      this.waiting = null;
      if (["resuming", "claiming"].includes(core.state)) this.cut?.(new ConnectionLost(`${this.url} does not answer`));
    });
    this.pingLater();
  }

  pingLater() {
    const seconds = Math.min(this.core.pingEvery, this.core.outbox.pending.length ? PING_SOON : PING_EVERY);
    const due = Date.now() + seconds * 1000;
    this.pinging = after(seconds, () => this.probe(Date.now() - due > LATE * 1000 ? PONG_SOON : PONG_WAIT));
  }

  /** Ask the node whether it is there: a browser tells nothing of a connection that is only half open. */
  probe(wait) {
    clearTimeout(this.pinging);
    const { core, heard } = this;
    if (core.state !== "online" || core.waitingOnPartner) return this.pingLater();
    core.ping();
    this.flush();
    this.pinging = after(Math.min(wait, core.pingEvery), () => {
      this.pinging = after(RECHECK, () => {
        if (this.heard === heard) this.cut?.(new ConnectionLost(`no answer from ${this.url} any more`));
        else this.pingLater();
      });
    });
  }
}

const ENDED = {
  replaced: "another connection took this session over",
  kicked: "the operator disconnected this session",
};

/** Call `nudge` at each sign that the network changed or that this page slept. Returns a function that stops it. */
function watchBrowser(nudge) {
  if (typeof document === "undefined") return () => {};
  const seen = () => document.visibilityState === "visible" && nudge();
  const signs = [[window, "online", nudge], [window, "offline", nudge], [window, "pageshow", nudge],
    [document, "resume", nudge], [document, "visibilitychange", seen]];
  for (const [target, sign, act] of signs) target.addEventListener(sign, act);
  return () => signs.forEach(([target, sign, act]) => target.removeEventListener(sign, act));
}
