// The core does what the test vectors in clients/vectors say, which hold for the Python library too.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { Core } from "../core.js";
import { Refused, RelayError } from "../errors.js";

const FOLDER = new URL("../../vectors/", import.meta.url);
const load = (file) => JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));

/** What the vectors call things: no nulls, and no capitals inside a word. */
function plain(value) {
  if (value instanceof Error) return { error: kindOf(value), ...(value instanceof Refused && { code: value.code }) };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const there = Object.entries(value).filter(([, one]) => one !== null && one !== undefined);
  return Object.fromEntries(there.map(([key, one]) => [key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`), plain(one)]));
}

const kindOf = (error) => (error instanceof TypeError ? "ValueError" : error.name);

function eventOf(event) {
  if (event.type !== "settled") return plain(event);
  const { id, text, chat, by, status, detail, at } = event.text;
  return plain({ type: "settled", text: { id, text, chat, by, status, detail, at } });
}

class Player {
  core = new Core();
  requests = new Map();

  /** What comes of a step. */
  play(step) {
    const done = {};
    let told = [];
    try {
      told = this.act(step);
    } catch (error) {
      if (!(error instanceof RelayError || error instanceof TypeError)) throw error;
      done.error = plain(error);
    }
    const out = this.core.take().map((text) => JSON.parse(text));
    if (out.length) done.out = out;
    if (told.length) done.events = told.map(eventOf);
    if (step.outcomes) done.outcomes = Object.fromEntries(Object.keys(step.outcomes).map((name) => [name, this.outcome(name)]));
    if ("memory" in step) done.memory = plain(this.core.memory);
    return done;
  }

  act(step) {
    if (step.in) return step.in.flatMap((frame) => this.core.feed(JSON.stringify(frame)));
    if (!step.do) return [];
    const [what, ...words] = step.do;
    if (what === "new") {
      const { ask, proofs = [] } = words[0] ?? {};
      this.core = new Core({ ask, proof: () => proofs.shift() ?? null });
      return [];
    }
    if (what === "farewell") words.push(true);
    if (what === "cancel") words[0] = this.requests.get(words[0]);
    const result = this.core[what.replace(/_(.)/g, (_, letter) => letter.toUpperCase())](...words);
    if (step.as) this.requests.set(step.as, result);
    return Array.isArray(result) ? result : [];
  }

  outcome(name) {
    const { outcome } = this.requests.get(name);
    return outcome && (outcome instanceof Error ? plain(outcome) : eventOf(outcome));
  }
}

for (const file of readdirSync(FOLDER).sort()) {
  for (const { case: name, steps } of load(file)) {
    test(`${file}: ${name}`, () => {
      const player = new Player();
      steps.forEach((step, number) => {
        const done = player.play(step);
        for (const key of ["out", "events", "error", "outcomes", "memory"]) {
          assert.deepEqual(done[key], step[key], `step ${number}: ${key}`);
        }
      });
    });
  }
}
