// A chat in 30 lines, with nothing but Node.js:  node chat.mjs NAME PARTNER HOST:PORT [HOST:PORT ...]
//
// PARTNER is whom to call, or - to wait for a call. Each line that is typed is a message; an empty one or Ctrl-D ends.
// This program acknowledges what it has shown. When its node dies it goes on at the next: same name, same chat, nothing
// lost, nothing twice. What is said here is in docs/protocol.md, "JSON dialect".

import net from "node:net";
import readline from "node:readline";

const [me, partner, ...nodes] = process.argv.slice(2);
const session = { sent: 0, last: 0 }, unsettled = new Map(); // unsettled: what we said, by its id
let node, typed = []; // the connection; the lines that are not said yet
const tell = (type, fields) => node.write(JSON.stringify({ type, ...fields }) + "\n");
const show = (who, text) => text && console.log(`${who}: ${text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?")}`);

function say() { // what was typed, as far as there is room for it; an empty line is the end
  for (; session.chat && unsettled.size < 16 && typed[0]; tell("msg", unsettled.get(session.sent)))
    unsettled.set(++session.sent, { id: session.sent, chat: session.chat, text: typed.shift() });
  if (session.chat && typed[0] === "") node.quit ??= tell("quit");
}

function hear({ type, id, from, to, text, code, message, token, chat }) {
  Object.assign(session, token && { token }, chat && { chat });
  if (type === "welcome" && !session.chat && partner !== "-") tell("to", { name: partner });
  if (type === "msg") show(from, text), tell("ack", { id: (session.last = id) });
  if (type === "ack") unsettled.forEach((_, sent) => sent <= id && unsettled.delete(sent));
  if (type === "unconfirmed") for (; from <= to; unsettled.delete(from++)) show("* lost", unsettled.get(from)?.text);
  if (type === "left") tell("quit");
  if (type === "error") code === "unavailable" ? node.destroy() : process.exit(console.error(message) ?? 1);
  if (type === "bye") process.exit();
}

function connect(turn, heard = [""]) { // to the next node in turn
  const [, host, port] = nodes[turn % nodes.length].match(/(.*):(.*)/);
  node = net.connect({ host, port }).on("error", () => {}).on("close", () => setTimeout(connect, 200, turn + 1));
  node.setEncoding("utf8").on("data", (data) => { // readline would split at U+2028, too
    for (heard = (heard.pop() + data).split("\n"); heard.length > 1; say()) hear(JSON.parse(heard.shift()));
  });
  tell("hello", { name: me, acks: true, ...session }); // with what is known of the session, so that it goes on
  unsettled.forEach((said) => tell("msg", said));
}

const type = (line) => (typed.push(line.trim()), say());
readline.createInterface({ input: process.stdin }).on("line", type).on("close", () => type(""));
connect(0);
