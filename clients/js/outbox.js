// The texts that the partner has not acknowledged yet, in the order of their ids. No I/O.
//
// A text that the node refuses takes no id, and for that reason the node also refuses every text that followed it on the
// wire. So after a refusal the client renumbers and writes all texts after it again (go-back-N). Nothing is lost or
// doubled, because the node accepted none of them. The refusals that still arrive for the earlier copies are ignored.
//
// Ids that were in use before a resume are different: the node accepts the texts after one that it refused. Such a text
// may also have been sent on the earlier connection, and then its outcome is unconfirmed, not refused.

import { NotARelay } from "./errors.js";

const RETRIED = new Set(["window_full", "rate_limited"]); // refusals after which the same text may be accepted later
const utf8 = new TextEncoder();

/** The size of a text in UTF-8 bytes. */
export const sizeOf = (text) => utf8.encode(text).length;

export class Outbox {
  constructor(window, windowBytes) {
    this.window = window;
    this.windowBytes = windowBytes;
    this.pending = [];
    this.sent = 0; // the highest id in use
    this.bytes = 0;
    this.held = false; // nothing is written until an acknowledgement, because the node's window was full
    this.stale = 0; // refusals that will still arrive for texts that are being written again
    this.floor = 0; // the highest id in use when the session was resumed
  }

  /** Whether a text of this size fits into the window now. A single text always fits. */
  room(size) {
    if (!this.pending.length) return true;
    return this.pending.length < this.window && this.bytes + size <= this.windowBytes;
  }

  add(text, chat, by) {
    const entry = entryOf({ id: this.sent + 1, text, chat, by });
    this.sent += 1;
    this.pending.push(entry);
    this.bytes += entry.size;
    return entry;
  }

  /** Undo the last `add`, whose text was not written. */
  dropLast() {
    this.bytes -= this.pending.pop().size;
    this.sent -= 1;
  }

  /** The texts to write now. They count as written afterwards. */
  toWrite() {
    if (this.held) return [];
    const fresh = this.pending.filter((entry) => !entry.written);
    for (const entry of fresh) entry.written = entry.tried = true;
    return fresh;
  }

  /** Have all texts without an outcome written again, under the same ids, on a new connection. */
  reopen(window, windowBytes) {
    Object.assign(this, { window, windowBytes, held: false, stale: 0 });
    for (const entry of this.pending) [entry.written, entry.earlier] = [false, entry.tried];
  }

  /** The highest id in use, for the resume. It is remembered, because refusals depend on it later. */
  promise() {
    return (this.floor = this.sent);
  }

  /** Settle the texts that never reached a node and belong to another chat. For right after a resume. */
  forsake(chat) {
    return this.settle((entry) => !entry.tried && entry.chat !== chat, "refused", "not_sent");
  }

  recall(sent, pending) {
    this.sent = sent;
    this.pending = pending.map(entryOf);
    this.bytes = total(this.pending);
  }

  acknowledged(last, chat, at) {
    this.held = false;
    const newest = this.pending.find((entry) => entry.id === last && entry.chat === chat);
    if (newest) newest.at = at ?? null;
    return this.settle((entry) => entry.id <= last && entry.chat === chat, "delivered", "");
  }

  unconfirmed(first, last, reason) {
    this.held = false;
    return this.settle((entry) => first <= entry.id && entry.id <= last, "unconfirmed", reason);
  }

  /** Settle all texts when the session is over: as unconfirmed, or as refused if they were never sent. */
  abandon(reason) {
    const tried = this.settle((entry) => entry.tried, "unconfirmed", reason);
    return [...tried, ...this.settle(() => true, "refused", "not_sent")];
  }

  /** The node refused the text `id` and those that followed it. Returns the texts that are settled by it. */
  refused(id, code) {
    if (this.stale) {
      this.stale -= 1;
      return [];
    }
    if (code === "bad_order") throw new NotARelay("the relay has lost count of our messages");
    const entry = this.pending.find((one) => one.id === id && one.written);
    if (!entry) return [];
    // Without an earlier text in the window no acknowledgement can make room, and waiting would never end.
    if (RETRIED.has(code) && entry !== this.pending[0]) {
      this.takeBack(id);
      this.held = true;
      return [];
    }
    if (id > this.floor) this.takeBack(id);
    return this.giveUp(entry, code);
  }

  /** Settle the texts that are too long for this node, after a resume. Another node may have accepted them. */
  giveUpIf(tooLong) {
    return this.pending.filter(tooLong).flatMap((entry) => this.giveUp(entry, "too_long"));
  }

  takeBack(first) {
    for (const entry of this.pending) {
      if (entry.id < first || !entry.written) continue;
      entry.written = false;
      this.stale += entry.id > first ? 1 : 0;
    }
  }

  giveUp(gone, code) {
    const settled = this.settle((entry) => entry === gone, gone.earlier ? "unconfirmed" : "refused", code);
    if (gone.id <= this.floor) return settled;
    for (const entry of this.pending) if (entry.id > gone.id) entry.id -= 1;
    this.sent -= 1;
    return settled;
  }

  settle(which, status, detail) {
    const settled = this.pending.filter(which);
    if (!settled.length) return settled;
    for (const entry of settled) Object.assign(entry, { status, detail });
    this.pending = this.pending.filter((entry) => entry.status === "pending");
    this.bytes = total(this.pending);
    return settled;
  }
}

/** A text on its way. The library keeps this object up to date and never replaces it. */
function entryOf({ id, text, chat, by, tried = false }) {
  const [size, status, detail] = [sizeOf(text), "pending", ""];
  return { id, text, chat, by, size, status, detail, at: null, written: false, tried, earlier: false };
}

const total = (entries) => entries.reduce((sum, entry) => sum + entry.size, 0);
