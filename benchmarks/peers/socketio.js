// What most people would take: socket.io with its Redis adapter. A user is a room of its own name.
const { createServer } = require("http");
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");

async function main(port, redisPort) {
  const publisher = createClient({ url: `redis://127.0.0.1:${redisPort}` });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const http = createServer();
  const io = new Server(http, {
    transports: ["websocket"],
    perMessageDeflate: false,
    adapter: createAdapter(publisher, subscriber),
  });
  io.on("connection", (socket) => {
    socket.on("name", async (name) => {
      await socket.join(name);
      socket.emit("ok");
    });
    socket.on("msg", ({ to, id, text }) => io.to(to).emit("msg", { id, text }));
  });
  http.listen(Number(port), "127.0.0.1");
}

main(...process.argv.slice(2));
