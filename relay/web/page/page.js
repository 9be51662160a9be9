// The chat page. What others wrote only ever becomes the text of an element.

import { connect } from "./client/index.js";
import { forget, keep, recall, storage } from "./kept.js";
import { Log } from "./log.js";
import { ending, make, plain, put, refusal } from "./text.js";

const AGAIN = 2; // seconds until a relay that can't be reached is tried again
const TYPING_EVERY = 3; // seconds between two notices that the user is typing
const TYPING_SHOWN = 6; // seconds for which the partner's is shown
const SPOKEN_AFTER = 700; // ms in which messages gather for a screen reader, so that it isn't flooded

const at = (id) => document.getElementById(id);
const show = (id, on) => (at(id).hidden = !on);
const now = () => Date.now() / 1000;
const log = new Log(at("log"), at("newer"), sendAgain);
let chat = null;
let rows = new Map(); // the row of each receipt without an outcome
let partnerState = "here"; // or "typing", or "away"
let awayUntil = 0;
let timer; // of what is shown about the partner
let typedAt = 0;
let ring = null; // aborts the call under way
let unspoken = [];

// --- what is said

function problem(sentence = "", name = "") {
  at("problem").replaceChildren(...put(sentence, name));
}

/** Change a text only if it is another one: a screen reader says it again otherwise. */
function change(selector, words) {
  const place = document.querySelector(selector);
  if (place.textContent !== words) place.textContent = words;
}

function state(words, mood = "") {
  change("#state", words);
  at("state").className = mood;
}

function note(sentence, who = "") {
  log.add({ kind: "note", text: sentence, who, at: now() });
  speak(plain(sentence, who));
}

/** Have a screen reader say it, in its time. */
function speak(words) {
  if (!unspoken.length) {
    setTimeout(() => {
      const few = unspoken.length <= 3;
      at("spoken").textContent = few ? unspoken.join("\n") : `${unspoken.length} new messages. The last: ${unspoken.at(-1)}`;
      unspoken = [];
    }, SPOKEN_AFTER);
  }
  unspoken.push(words.slice(0, 300));
}

function connection() {
  if (!chat || chat.over) return;
  partner();
  if (chat.online) state("Connected", "good");
  else if (!navigator.onLine) state("You are offline. What you write is sent when you are back.", "bad");
  else state(chat.tries > 1 ? `Connection lost. Trying again (attempt ${chat.tries})…` : "Connection lost. Trying again…", "bad");
}

function partner() {
  const name = chat?.partner ?? null;
  show("partner", name !== null);
  show("say", name !== null);
  show("call", chat && name === null && !ring);
  if (name === null) return;
  change("#partner bdi", name);
  const left = Math.max(0, Math.ceil(awayUntil - now()));
  const words = { here: "is here", typing: "is typing…", away: `is away, and may come back within ${left} s` };
  change("#presence", chat.online ? words[partnerState] : "can't be seen until you are connected again");
}

function partnerIs(what, seconds = 0) {
  partnerState = what;
  awayUntil = now() + seconds;
  clearInterval(timer);
  if (what === "typing") timer = setTimeout(() => partnerIs("here"), TYPING_SHOWN * 1000);
  if (what === "away") timer = setInterval(partner, 1000);
  partner();
}

// --- what happens

const HAPPENS = {
  joined: connection,
  dropped: connection,
  paired({ name, resumed }) {
    partnerIs("here");
    if (resumed && recall("with") === name) return;
    keep("with", name);
    note("You are chatting with #.", name);
    recallDraft();
    if (document.activeElement?.closest("#calls") === null) at("text").focus();
  },
  message({ id, sender, chat: which, text, at: time }) {
    if (!log.add({ kind: "theirs", who: sender, text, at: time, chat: which, id })) return;
    speak(`${sender}: ${text}`);
    if (partnerState === "typing") partnerIs("here");
  },
  settled: ({ receipt }) => settle(rows.get(receipt) ?? orphan(receipt.text), receipt),
  away({ name, grace }) {
    partnerIs("away", grace);
    speak(plain("# is away.", name));
  },
  back({ name }) {
    partnerIs("here");
    speak(plain("# is back.", name));
  },
  typing: () => partnerState !== "away" && partnerIs("typing"),
  left({ name, reason, chat: which }) {
    note(ending(reason), name);
    if (chat.chat !== null && which !== chat.chat) return;
    forget("with");
    partnerIs("here");
    if (!ring) at("callee").focus();
  },
  ringing({ name }) {
    at("ringing").querySelector("span").replaceChildren(...put("It rings at #…", name));
    show("ringing", true);
    at("cancel").focus();
  },
  invited: invite,
  missed: ({ chat: which }) => uninvite(which),
  expired: () => note("You were away for too long: the relay has ended the session. You are here again under your name."),
  complaint: ({ message }) => problem(`${message}.`),
  lost: ({ code }) => {
    if (code === "replaced") end("Another tab or window has this chat now, and it goes on there. This one has stopped.");
    else if (code === "kicked") end("The operator of this relay has disconnected you.");
    else end("Your name was lost: it belongs to somebody else now. Choose another one.");
  },
  close: ({ reason }) => chat && end(reason ? `The connection is over: ${reason}.` : ""),
};

function settle(row, receipt) {
  rows.delete(receipt);
  if (!row) return;
  const { status, detail } = receipt;
  if (status !== "delivered") {
    log.update(row, { status, detail });
    speak(`A message may not have arrived: ${row.text}`);
    return;
  }
  receipt.delivered.then((by) => log.update(row, { status: by === "client" ? "delivered" : "node", at: receipt.at ?? row.at }));
}

/** The row of a text that an earlier page of this tab sent. */
const orphan = (text) => log.rows.find((row) => row.status === "pending" && !row.receipt && row.text === text);

/** Bring the rows that an earlier page left together with the texts that the session still has. */
function adopt() {
  for (const receipt of chat.pending) {
    const row = orphan(receipt.text);
    if (!row) continue;
    row.receipt = receipt;
    rows.set(receipt, row);
  }
  for (const row of log.rows) {
    if (row.receipt || !["pending", "waiting"].includes(row.status)) continue;
    log.update(row, { status: row.status === "pending" ? "unconfirmed" : "refused", detail: "reloaded" });
  }
}

function invite(call) {
  const button = (words, className, act) => {
    const one = make("button", className, words);
    one.type = "button";
    one.addEventListener("click", async () => {
      uninvite(call.chat);
      try {
        await act();
      } catch (error) {
        problem(refusal(error), call.name);
      }
    });
    return one;
  };
  const item = make("li", "", make("span", "", ...put("# is calling.", call.name)));
  item.append(
    button("Accept", "yes", () => chat.accept(call)),
    button("Decline", "", () => chat.decline(call)),
    button("Block", "", () => {
      chat.decline(call);
      return chat.block(call.name).then(() => note("# can't call you any more, as long as you stay.", call.name));
    }),
  );
  item.dataset.chat = call.chat;
  at("calls").append(item);
  setTimeout(() => uninvite(call.chat), call.wait * 1000);
  speak(plain("# is calling. There are buttons to accept, decline and block.", call.name));
}

function uninvite(which) {
  for (const item of [...at("calls").children]) if (item.dataset.chat === which) item.remove();
}

// --- coming and going

async function nodes() {
  try {
    return (await (await fetch("nodes.json")).json()).nodes;
  } catch {
    return ["/ws"];
  }
}

async function enter(name) {
  state("Connecting…");
  show("enter", false);
  const urls = await nodes();
  for (;;) {
    try {
      chat = await connect(urls, { name, ask: true, inOrder: true, reconnectTimeout: Infinity, state: storage });
      break;
    } catch (error) {
      if (error.code && error.code !== "unavailable") {
        outside();
        problem(refusal(error), name);
        return;
      }
      state("The relay can't be reached. Trying again…", "bad");
      await new Promise((resolve) => setTimeout(resolve, AGAIN * 1000));
    }
  }
  problem();
  keep("name", name);
  at("my-name").textContent = chat.name;
  show("me", true);
  show("talk", true);
  const mine = chat; // what still happens in it after its end is nothing to the page
  for (const [type, act] of Object.entries(HAPPENS))
    mine.addEventListener(type, ({ detail }) => chat === mine && act(detail));
  await null; // what happened until now is told first
  adopt();
  connection();
  partnerIs("here");
  recallDraft();
  at(chat.partner === null ? "callee" : "text").focus();
}

/** Show the form that asks for a name. */
function outside() {
  chat = null;
  show("enter", true);
  show("talk", log.rows.length > 0); // what was said can still be read
  for (const id of ["me", "ringing", "partner", "say", "call"]) show(id, false);
  at("calls").replaceChildren();
  state("Not connected");
  at("name").focus();
}

function end(sentence) {
  forget("name");
  forget("with");
  at("name").value = chat?.name ?? at("my-name").textContent;
  rows = new Map();
  clearInterval(timer);
  const gone = chat;
  outside();
  gone?.close({ now: true });
  problem(sentence);
}

// --- what the user does

function on(id, sign, act) {
  at(id).addEventListener(sign, (event) => {
    if (sign === "submit") event.preventDefault();
    act(event);
  });
}

async function say(words, who) {
  const row = log.add({ kind: "mine", who, text: words, at: now(), status: "waiting", detail: "" });
  try {
    const receipt = await chat.send(words);
    row.receipt = receipt;
    rows.set(receipt, row);
    if (row.status === "waiting") log.update(row, { status: "pending" });
  } catch (error) {
    log.update(row, { status: "refused", detail: error.code ?? error.message });
  }
}

function sendAgain(row) {
  if (chat?.partner !== row.who) {
    problem("Call # first: this text was meant for that chat.", row.who);
    return;
  }
  log.update(row, { repeated: true });
  say(row.text, row.who);
  at("text").focus();
}

function submit() {
  const words = at("text").value;
  if (!words.trim() || !chat?.partner) return;
  problem();
  at("text").value = "";
  typedAt = 0;
  draft();
  say(words.toWellFormed(), chat.partner);
}

function recallDraft() {
  at("text").value = recall(`draft:${chat.partner}`) ?? "";
}

function draft() {
  keep(`draft:${chat.partner}`, at("text").value);
}

on("enter", "submit", () => {
  const name = at("name").value.trim();
  problem(name ? "" : "A name needs at least one character.");
  if (!name) return;
  log.clear();
  enter(name);
});
on("call", "submit", async () => {
  const name = at("callee").value.trim();
  if (!name) return;
  problem();
  ring = new AbortController();
  show("call", false);
  try {
    await chat.call(name, { signal: ring.signal });
    at("callee").value = "";
  } catch (error) {
    if (!ring.signal.aborted) problem(refusal(error), name);
  }
  ring = null;
  show("ringing", false);
  partner();
  if (chat?.partner === null) at("callee").focus();
});
on("cancel", "click", () => ring?.abort());
on("leave", "click", () => chat.leave().catch((error) => problem(refusal(error))));
on("quit", "click", () => {
  const leaving = chat;
  if (leaving.pending.length && !confirm("Some messages have not arrived yet. Log out all the same?")) return;
  log.clear();
  end("");
});
on("say", "submit", submit);
on("text", "input", () => {
  draft();
  if (now() - typedAt < TYPING_EVERY) return;
  typedAt = now();
  chat.typing();
});
on("text", "keydown", (event) => {
  // Enter that ends the composition of a character has the key code 229 where it isn't marked.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
// No other page could take the session over, and the name would be taken for a while.
if (!storage) window.addEventListener("pagehide", () => chat?.close({ now: true }));
for (const sign of ["online", "offline"]) window.addEventListener(sign, connection);
setInterval(connection, 1000);

log.restore();
const before = recall("name");
if (before) enter(before);
else outside();
