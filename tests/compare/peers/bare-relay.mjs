// The least that a server between two sockets does: it passes each frame on to the socket that is named in its first word,
// and what is posted to every socket. Nothing is stored, nothing crosses a process.
//
//   node bare-relay.mjs   prints `ready PORT`

import { createServer } from "node:http";
import { peer } from "../peer-packages.mjs";

const { WebSocketServer } = peer("ws");

const sockets = new Map();
const http = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const text = Buffer.concat(parts).toString();
  for (const socket of sockets.values()) socket.send(text);
  response.writeHead(202).end("{}");
});
new WebSocketServer({ server: http, perMessageDeflate: false }).on("connection", (socket, request) => {
  sockets.set(request.url.slice(1), socket);
  socket.on("message", (data) => {
    const text = data.toString();
    const end = text.indexOf(" ");
    sockets.get(text.slice(0, end)).send(text.slice(end + 1));
  });
  socket.on("close", () => sockets.delete(request.url.slice(1)));
});
process.on("SIGUSR2", () => globalThis.gc());
http.listen(0, "127.0.0.1", () => console.log(`ready ${http.address().port}`));
