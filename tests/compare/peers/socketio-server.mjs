// A Socket.IO server as its documentation sets it up behind a load balancer: one process of several, with the Redis adapter.
//
//   node socketio-server.mjs REDIS_URL   prints `ready PORT`

import { createServer } from "node:http";
import { peer } from "../peer-packages.mjs";

const { Server } = peer("socket.io");
const { createAdapter } = peer("@socket.io/redis-adapter");
const { Redis } = peer("ioredis");

const redis = new Redis(process.argv[2]);
const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  adapter: createAdapter(redis, redis.duplicate()),
  perMessageDeflate: false,
  httpCompression: false,
});
io.on("connection", (socket) => {
  socket.join(`user:${socket.handshake.query.user}`);
  socket.on("say", (message) => io.to(`user:${message.to}`).emit("said", message));
});
// A service of its own tells everyone: the same call as the send of a notification.
http.prependListener("request", async (request, response) => {
  if (request.url !== "/tell") return;
  const parts = [];
  for await (const part of request) parts.push(part);
  io.emit("told", JSON.parse(Buffer.concat(parts)));
  response.writeHead(202).end("{}");
});
// So that memory is compared without garbage.
process.on("SIGUSR2", () => globalThis.gc());
await new Promise((resolve) => setTimeout(resolve, 300));
http.listen(0, "127.0.0.1", () => console.log(`ready ${http.address().port}`));
