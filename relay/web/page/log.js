// The messages on the page. They are kept in `sessionStorage` before they are acknowledged, so that a reload shows each of
// them once.

import { forget, keep, keys, recall } from "./kept.js";
import { failing, make, put } from "./text.js";

const KEPT = 500; // rows; older ones go
const TICKS = {
  waiting: ["…", "waiting"],
  pending: ["…", "on its way"],
  node: ["✓", "handed over"],
  delivered: ["✓✓", "delivered"],
};
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export class Log {
  /** `again` is called with a row whose text is to be sent again. */
  constructor(list, newer, again) {
    this.list = list;
    this.newer = newer;
    this.again = again;
    this.rows = [];
    this.next = 0;
    this.atEnd = true; // the newest row is in sight
    this.top = 0; // how far the list was scrolled at last
    this.unread = 0;
    this.line = null; // says where the unread rows begin
    this.heard = new Map(); // by chat, the highest id that was shown
    list.addEventListener("scroll", () => this.scrolled());
    newer.addEventListener("click", () => {
      this.toEnd();
      list.focus();
    });
    document.addEventListener("visibilitychange", () => this.scrolled());
    new ResizeObserver(() => this.follow()).observe(list);
  }

  /** Show what an earlier page of this tab kept. */
  restore() {
    const kept = keys().filter((key) => key.startsWith("log:"));
    for (const key of kept.map((one) => Number(one.slice(4))).sort((a, b) => a - b)) {
      this.show({ ...JSON.parse(recall(`log:${key}`)), key });
      this.next = key + 1;
    }
    this.follow();
  }

  clear() {
    for (const row of this.rows.splice(0)) this.drop(row);
    this.seen();
  }

  /** Add a row and keep it. Returns it, or null if this message was shown before. */
  add(row) {
    if (row.kind === "theirs" && row.id <= (this.heard.get(row.chat) ?? 0)) return null;
    row.key = this.next++;
    if (row.kind === "theirs" && (!this.atEnd || document.hidden)) this.missed();
    this.show(row);
    this.keep(row);
    if (row.kind === "mine") this.seen();
    if (this.atEnd) this.follow();
    return row;
  }

  /** Change what became of a text, in its place. */
  update(row, change) {
    Object.assign(row, change);
    this.keep(row);
    this.mark(row);
  }

  keep({ element, foot, receipt, ...row }) {
    keep(`log:${row.key}`, JSON.stringify(row));
  }

  show(row) {
    row.element = make("li", row.kind);
    if (row.kind === "note") {
      row.element.append(...put(row.text, row.who));
    } else {
      const text = make("p", "text", row.text);
      text.dir = "auto";
      const speaker = make("span", "unseen", ...put(row.kind === "mine" ? "You: " : "#: ", row.who));
      row.foot = make("div", "meta");
      row.element.append(speaker, text, row.foot);
      if (row.kind === "theirs") this.heard.set(row.chat, Math.max(row.id, this.heard.get(row.chat) ?? 0));
      this.mark(row);
    }
    this.list.append(row.element);
    this.rows.push(row);
    if (this.rows.length > KEPT && this.atEnd) this.drop(this.rows.shift());
  }

  drop(row) {
    row.element.remove();
    forget(`log:${row.key}`);
  }

  mark(row) {
    const time = make("time", "", clock.format(row.at * 1000));
    time.dateTime = new Date(row.at * 1000).toISOString();
    const parts = [time];
    const failed = ["unconfirmed", "refused"].includes(row.status);
    if (failed) {
      parts.unshift(make("span", "why", ...put(failing(row.status, row.detail), row.who)));
      const button = make("button", "", "Send again");
      button.type = "button";
      button.addEventListener("click", () => this.again(row));
      if (!row.repeated) parts.push(button);
    } else if (row.kind === "mine") {
      const [sign, words] = TICKS[row.status];
      const tick = make("span", "tick", sign);
      tick.setAttribute("role", "img");
      tick.setAttribute("aria-label", words);
      tick.title = words;
      parts.push(tick);
    }
    row.element.classList.toggle("failed", failed);
    row.foot.replaceChildren(...parts);
  }

  // --- what is in sight

  missed() {
    if (!this.unread) {
      this.line?.remove();
      this.line = make("li", "new", "New messages");
      this.list.append(this.line);
    }
    this.unread += 1;
    this.told();
  }

  told() {
    const words = this.unread === 1 ? "1 new message" : `${this.unread} new messages`;
    this.newer.hidden = !this.unread || this.atEnd;
    this.newer.textContent = `${words} ↓`;
    document.title = this.unread ? `(${this.unread}) pair-relay` : "pair-relay";
  }

  /** Everything was read. The line stays until there is another one, or something is said. */
  seen() {
    this.line?.remove();
    this.line = null;
    this.unread = 0;
    this.toEnd();
  }

  scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    // Rows that were added meanwhile are no reason to think that somebody reads further up.
    if (scrollHeight - scrollTop - clientHeight < 24) this.atEnd = true;
    else if (scrollTop < this.top) this.atEnd = false;
    this.top = scrollTop;
    if (this.atEnd && !document.hidden) this.unread = 0;
    this.told();
  }

  toEnd() {
    this.atEnd = true;
    this.told();
    this.follow();
  }

  /** Keep the newest row in sight. */
  follow() {
    if (!this.atEnd || this.following) return;
    this.following = true;
    const act = () => {
      this.following = false;
      if (this.atEnd) this.list.scrollTop = this.list.scrollHeight;
    };
    if (document.hidden) act();
    else requestAnimationFrame(act);
  }
}
