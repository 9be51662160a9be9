// A WebSocket whose node says and hears exactly what a test tells it to.

export const WELCOME = {
  type: "welcome", v: 1, name: "alice", token: "t0", resumed: false, grace: 30, window: 256, window_bytes: 1048576, ping: 30,
  node: "n1", max_line: 65536,
};
export const PAIRED = { type: "paired", name: "bob", chat: "c1", acks: "client", resumed: false };
export const said = (id, text = `text ${id}`) => ({ type: "msg", id, from: "bob", chat: "c1", text, at: id });

/** Let everything happen that waits for nothing but its turn. */
export async function settle() {
  for (let turn = 0; turn < 50; turn++) await null;
}

/** Returns a class of sockets that come in turn: `sockets` has those so far, `refuse` closes all further ones. */
export function network() {
  const there = { sockets: [], refuse: false };
  there.WebSocket = class {
    constructor(url) {
      this.url = url;
      this.sent = [];
      there.sockets.push(this);
      queueMicrotask(() => (there.refuse ? this.onclose?.({ code: 1006 }) : this.onopen?.()));
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.closed = code ?? 1005;
    }

    /** The node says these frames. */
    says(...frames) {
      for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
    }

    /** The node, or the network, ends the connection. */
    drops(code = 1006) {
      this.onclose?.({ code });
    }

    /** What was sent since the last look. */
    heard() {
      return this.sent.splice(0);
    }
  };
  return there;
}
