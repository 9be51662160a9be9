// Connections, events, acknowledgements and what a reload finds, with a node that does what the test says.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { connect, ConnectionFailed, ConnectionLost, NotConfirmed, Refused } from "../index.js";
import { network, PAIRED, said, settle, WELCOME } from "./fake.js";

const URLS = ["ws://one/ws", "ws://two/ws"];
const types = (frames) => frames.map(({ type }) => type);
let net;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  net = network();
});

/** Connect, and be with bob. */
async function chatting(options = {}) {
  const connecting = connect(URLS, { name: "alice", inOrder: true, WebSocket: net.WebSocket, ...options });
  await settle();
  const [socket] = net.sockets;
  socket.says(WELCOME, PAIRED);
  const chat = await connecting;
  socket.heard();
  return { chat, socket };
}

function storage() {
  const kept = new Map();
  const getItem = (key) => kept.get(key) ?? null;
  return { kept, getItem, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
}

/** The next connection, once its pause is over. */
async function next() {
  await settle();
  mock.timers.tick(5000);
  await settle();
  return net.sockets.at(-1);
}

test("a loop acknowledges what it has taken, and not what it has in hand", async () => {
  const { chat, socket } = await chatting();
  socket.says(said(1), said(2));
  const loop = chat[Symbol.asyncIterator]();
  const taken = [];
  for (let number = 0; number < 4; number++) taken.push((await loop.next()).value);
  assert.deepEqual(types(taken), ["joined", "paired", "message", "message"]);
  assert.deepEqual(socket.heard(), []);
  loop.next();
  assert.deepEqual(socket.heard(), [{ type: "ack", id: 2, chat: "c1" }]);
  socket.says(said(3));
  await settle();
  assert.deepEqual(socket.heard(), []);
  chat.acknowledge();
  assert.deepEqual(socket.heard(), [{ type: "ack", id: 3, chat: "c1" }]);
});

test("many messages are acknowledged before all of them are taken", async () => {
  const { chat, socket } = await chatting();
  socket.says(...Array.from({ length: 100 }, (_, number) => said(number + 1)));
  let number = 0;
  for await (const event of chat) if (event.type === "message" && ++number === 70) break;
  assert.deepEqual(socket.heard().map(({ id }) => id), [32, 64]);
});

test("listeners take a message by returning, unless they prevent it", async () => {
  const { chat, socket } = await chatting();
  const heard = [];
  chat.addEventListener("message", (event) => {
    heard.push(event.detail);
    if (event.detail.id === 2) event.preventDefault();
  });
  socket.says(said(1));
  await settle();
  assert.deepEqual(socket.heard(), [{ type: "ack", id: 1, chat: "c1" }]);
  socket.says(said(2));
  assert.deepEqual(socket.heard(), []);
  chat.acknowledge(heard[1]);
  assert.deepEqual(socket.heard(), [{ type: "ack", id: 2, chat: "c1" }]);
});

test("with manual acknowledgements nothing is acknowledged by itself", async () => {
  const { chat, socket } = await chatting({ acks: "manual" });
  chat.addEventListener("message", () => {});
  socket.says(said(1));
  await settle();
  assert.deepEqual(socket.heard(), []);
});

test("a receipt says what became of a text", async () => {
  const { chat, socket } = await chatting();
  const [one, two] = [await chat.send("one"), await chat.send("two")];
  assert.equal(one.status, "pending");
  socket.says({ type: "ack", id: 1, chat: "c1", at: 7.5 }, { type: "unconfirmed", from: 2, to: 2, reason: "quit" });
  assert.deepEqual([await one.delivered, one.status, one.at], ["client", "delivered", 7.5]);
  await assert.rejects(two.delivered, NotConfirmed);
  assert.deepEqual([two.status, two.detail], ["unconfirmed", "quit"]);
});

test("a full window is waited out, in the order of the senders", async () => {
  const connecting = connect(URLS, { name: "alice", WebSocket: net.WebSocket });
  await settle();
  const [socket] = net.sockets;
  socket.says({ ...WELCOME, window: 1 }, PAIRED);
  const chat = await connecting;
  await chat.send("one");
  const rest = [chat.send("two"), chat.send("three")];
  await settle();
  assert.deepEqual(socket.heard().filter(({ type }) => type === "msg").length, 1);
  socket.says({ type: "ack", id: 1, chat: "c1" });
  await rest[0];
  socket.says({ type: "ack", id: 2, chat: "c1" });
  await rest[1];
  assert.deepEqual(socket.heard().map(({ text }) => text), ["two", "three"]);
});

test("who waits for the window when the chat ends is refused", async () => {
  const connecting = connect(URLS, { name: "alice", WebSocket: net.WebSocket });
  await settle();
  const [socket] = net.sockets;
  socket.says({ ...WELCOME, window: 1 }, PAIRED);
  const chat = await connecting;
  await chat.send("one");
  const waiting = chat.send("two");
  await settle();
  socket.says({ type: "left", name: "bob", reason: "quit", chat: "c1" });
  await assert.rejects(waiting, (error) => error instanceof Refused && error.code === "not_paired");
});

test("a lost connection is replaced at the next node, and what has no outcome goes again", async () => {
  const { chat, socket } = await chatting();
  const receipt = await chat.send("one");
  socket.drops();
  await settle();
  assert.equal(chat.online, false);
  const other = await next();
  assert.equal(other.url, URLS[1]);
  assert.deepEqual(other.heard(), [{ type: "hello", v: 1, name: "alice", acks: true, token: "t0", chat: "c1", sent: 1 }]);
  other.says({ ...WELCOME, resumed: true }, { ...PAIRED, resumed: true, last: 0 }, { type: "pong" });
  assert.deepEqual(types(other.heard()), ["ping", "msg"]);
  other.says({ type: "ack", id: 1, chat: "c1" });
  assert.equal(await receipt.delivered, "client");
});

test("pauses grow, differ, and end with the time for it", async () => {
  const { chat, socket } = await chatting({ reconnectTimeout: 20 });
  const receipt = await chat.send("one");
  net.refuse = true;
  socket.drops();
  for (let second = 0; second < 60 && !chat.over; second++) {
    mock.timers.tick(1000);
    await settle();
  }
  assert.ok(net.sockets.length >= 6 && net.sockets.length <= 14, `${net.sockets.length} tries`);
  await assert.rejects(receipt.delivered, ConnectionLost);
  await assert.rejects(chat.who("bob"), ConnectionLost);
  assert.equal(receipt.status, "pending");
});

test("a node that answers no ping is left", async () => {
  const { socket } = await chatting();
  mock.timers.tick(10_000);
  assert.deepEqual(types(socket.heard()), ["ping"]);
  mock.timers.tick(10_000);
  assert.equal(socket.closed, undefined);
  mock.timers.tick(100);
  assert.equal(socket.closed, 1000);
  const other = await next();
  assert.deepEqual(types(other.heard()), ["hello"]);
});

test("a node that says anything is there", async () => {
  const { socket } = await chatting();
  mock.timers.tick(10_000);
  socket.says({ type: "typing", name: "bob", chat: "c1" });
  mock.timers.tick(10_100);
  assert.equal(socket.closed, undefined);
});

test("whoever is replaced stops, also if only the close code says so", async () => {
  for (const last of [(socket) => socket.says({ type: "replaced" }), (socket) => socket.drops(4000)]) {
    net = network();
    const state = storage();
    const { chat, socket } = await chatting({ state });
    last(socket);
    await settle();
    assert.equal(chat.over, true);
    await assert.rejects(chat.send("x"), /another connection took this session over/);
    await next();
    assert.equal(net.sockets.length, 1, "it doesn't fight for the session");
  }
});

test("a drain is followed to another node while the old one still serves", async () => {
  const { socket } = await chatting();
  socket.says({ type: "moving" });
  assert.equal(socket.closed, 1000);
  assert.equal((await next()).url, URLS[1]);
});

test("nobody answers: an error says so", async () => {
  net.refuse = true;
  await assert.rejects(connect(URLS, { name: "alice", WebSocket: net.WebSocket }), ConnectionFailed);
  assert.deepEqual(new Set(net.sockets.map(({ url }) => url)), new Set(URLS));
});

test("a name that is taken is an error, or is waited for", async () => {
  const taken = { type: "error", code: "name_taken", message: "taken", name: "alice" };
  const refused = connect(URLS, { name: "alice", WebSocket: net.WebSocket });
  await settle();
  net.sockets[0].says(taken);
  await assert.rejects(refused, (error) => error instanceof Refused && error.code === "name_taken");
  const patient = connect(URLS, { name: "alice", WebSocket: net.WebSocket, claimTimeout: 5 });
  await settle();
  net.sockets[1].says(taken);
  await settle();
  const socket = await next();
  socket.says(WELCOME);
  assert.equal((await patient).name, "alice");
});

test("each connection has a fresh proof, and one that can't be had is a complaint", async () => {
  const proofs = ["p1", new Error("no signer"), "p2"];
  const auth = async () => {
    const proof = proofs.shift();
    if (proof instanceof Error) throw proof;
    return proof;
  };
  const connecting = connect(URLS, { name: "alice", WebSocket: net.WebSocket, auth });
  await settle();
  assert.equal(net.sockets[0].heard()[0].auth, "p1");
  net.sockets[0].says(WELCOME);
  const chat = await connecting;
  const complaints = [];
  chat.addEventListener("complaint", ({ detail }) => complaints.push(detail.code));
  net.sockets[0].drops();
  await next();
  const socket = await next();
  assert.deepEqual(complaints, ["no_proof"]);
  assert.equal(socket.heard()[0].auth, "p2");
});

test("a reload finds the session, with the texts that have no outcome", async () => {
  const state = storage();
  const { chat, socket } = await chatting({ state });
  chat.addEventListener("message", () => {});
  socket.says(said(1));
  await chat.send("one");
  await chat.send("two");
  socket.says({ type: "ack", id: 1, chat: "c1" });
  await settle();
  const first = net.sockets.length;
  const reloaded = connect(URLS, { name: "alice", WebSocket: net.WebSocket, state });
  await settle();
  const again = net.sockets[first];
  const [hello] = again.heard();
  assert.deepEqual([hello.token, hello.chat, hello.sent, hello.last], ["t0", "c1", 2, 1]);
  again.says({ ...WELCOME, resumed: true });
  const later = await reloaded;
  assert.deepEqual(later.pending.map(({ text }) => text), ["two"]);
  again.says({ ...PAIRED, resumed: true, last: 1 }, { type: "pong" });
  assert.deepEqual(again.heard().filter(({ type }) => type === "msg").map(({ text }) => text), ["two"]);
  const closing = later.close();
  again.says({ type: "ack", id: 2, chat: "c1" }, { type: "bye" });
  await closing;
  assert.equal(state.kept.size, 0, "nothing is left in the storage");
});

test("a storage that is full is a complaint, and the chat goes on", async () => {
  const state = storage();
  const { chat, socket } = await chatting({ state });
  const complaints = [];
  chat.addEventListener("complaint", ({ detail }) => complaints.push(detail.code));
  state.setItem = () => {
    throw new Error("full");
  };
  await chat.send("one");
  await chat.send("two");
  assert.deepEqual(types(socket.heard()), ["msg", "msg"]);
  await settle();
  assert.deepEqual(complaints, ["not_kept"]);
});

test("a storage that the browser refuses is a complaint, and the chat goes on without", async () => {
  const refuse = () => {
    throw new Error("denied");
  };
  for (const state of [refuse, { getItem: refuse, setItem: refuse, removeItem: refuse }]) {
    net = network();
    const { chat, socket } = await chatting({ state });
    const complaints = [];
    chat.addEventListener("complaint", ({ detail }) => complaints.push(detail.code));
    await chat.send("one");
    assert.deepEqual(types(socket.heard()), ["msg"]);
    await settle();
    assert.deepEqual(complaints, ["not_kept"]);
    socket.says({ type: "error", code: "name_lost", message: "lost" });
    const claiming = chat.claim("alice");
    await settle();
    socket.says(WELCOME);
    assert.equal(await claiming, "alice");
  }
});

test("a storage may come from a function", async () => {
  const state = storage();
  await chatting({ state: () => state });
  assert.ok(state.kept.size > 0);
});

test("a call is given up by a signal", async () => {
  const { chat, socket } = await chatting();
  const signal = new AbortController();
  const call = chat.call("carol", { signal: signal.signal });
  signal.abort();
  assert.deepEqual(types(socket.heard()), ["to", "cancel"]);
  socket.says({ type: "error", code: "declined", message: "no", name: "carol", ref: 2 });
  await assert.rejects(call, Refused);
});

test("closing waits for outcomes, unless it is in a hurry", async () => {
  const { chat, socket } = await chatting();
  await chat.send("one");
  const closing = chat.close();
  assert.deepEqual(socket.heard().at(-1), { type: "quit" });
  const hurried = chat.close({ now: true });
  assert.deepEqual(socket.heard().at(-1), { type: "quit", now: true });
  socket.says({ type: "unconfirmed", from: 1, to: 1, reason: "left" }, { type: "bye" });
  await Promise.all([closing, hurried]);
  assert.equal(chat.over, true);
  const rest = [];
  for await (const event of chat) rest.push(event);
  assert.deepEqual(types(rest).slice(-3), ["settled", "bye", "close"]);
});

test("whoever speaks no protocol is no relay", async () => {
  const { socket } = await chatting();
  socket.onmessage({ data: new ArrayBuffer(1) });
  assert.equal(socket.closed, 1000);
  const other = await next();
  other.onmessage({ data: "<html>" });
  assert.equal(other.closed, 1000);
});
