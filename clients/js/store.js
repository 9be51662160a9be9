// Keeps a session where a reload finds it: in `sessionStorage`, or anything else with its three methods.
//
// What changes often is small: each text without an outcome is an entry of its own, and is written once.

const VERSION = 1;

export class Store {
  /** `trouble` is called once with an error if the storage takes nothing more. */
  constructor(storage, name, trouble) {
    this.storage = storage;
    this.key = `pair-relay:${name}`;
    this.trouble = trouble;
    this.failed = false;
    this.head = ""; // as it was written last
    this.slots = new Map(); // the slot of each text that is kept, and how it was written last
    this.free = 0; // the next slot
  }

  /** The saved session, or null if there is none. */
  load() {
    try {
      const { slots, ...memory } = JSON.parse(this.storage.getItem(this.key));
      if (memory.version !== VERSION) return null;
      const pending = slots.map((slot) => JSON.parse(this.storage.getItem(`${this.key}:${slot}`)));
      this.old = slots;
      return pending.includes(null) ? null : { ...memory, pending };
    } catch {
      return null;
    }
  }

  /** Save the session, or forget it if it is over. */
  save(core) {
    const { memory } = core;
    try {
      if (memory) this.write(memory, core.outbox.pending);
      else if (this.head) this.forget();
      this.failed = false;
    } catch (error) {
      if (!this.failed) this.trouble(error);
      this.failed = true;
    }
  }

  write({ pending, ...rest }, entries) {
    const gone = new Map(this.slots);
    entries.forEach((entry, index) => {
      gone.delete(entry);
      const kept = this.slots.get(entry) ?? { slot: this.free++ };
      if (kept.id === entry.id && kept.tried === entry.tried) return;
      this.storage.setItem(`${this.key}:${kept.slot}`, JSON.stringify(pending[index]));
      this.slots.set(entry, Object.assign(kept, { id: entry.id, tried: entry.tried }));
    });
    const head = JSON.stringify({ ...rest, slots: entries.map((entry) => this.slots.get(entry).slot) });
    if (head !== this.head) this.storage.setItem(this.key, head);
    this.head = head;
    for (const [entry, { slot }] of gone) {
      this.slots.delete(entry);
      this.storage.removeItem(`${this.key}:${slot}`);
    }
  }

  /** Take over what `load` found: the entries of the outbox, in their order, have these slots. */
  adopt(entries) {
    entries.forEach((entry, index) => this.slots.set(entry, { slot: this.old[index], id: entry.id, tried: entry.tried }));
    this.free = Math.max(-1, ...this.old) + 1;
  }

  forget() {
    this.head = "";
    this.storage.removeItem(this.key);
    for (const { slot } of this.slots.values()) this.storage.removeItem(`${this.key}:${slot}`);
    this.slots.clear();
  }
}
