// The WebSocket client of every figure: `ws` without compression, the same for ours and for the peers.

import { peer } from "./peer-packages.mjs";

const WebSocket = peer("ws");

/** Opens a socket; `onText` gets the text of each frame. */
export function openSocket(url, onText) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    socket.on("error", reject);
    socket.on("message", (data) => onText(data.toString()));
    socket.once("open", () => resolve(socket));
  });
}

/**
 * Opens a socket to Socket.IO that speaks its protocol (Engine.IO 4) itself: its own client would do more work than the
 * other side's. `onEvent` gets the argument of each event.
 */
export function openSocketIo(port, user, onEvent) {
  return new Promise((resolve, reject) => {
    let socket;
    const onText = (text) => {
      if (text.startsWith("42")) onEvent(JSON.parse(text.slice(2))[1]);
      else if (text[0] === "0") socket.send("40");
      else if (text[0] === "2") socket.send("3");
      else if (text.startsWith("40")) resolve(socket);
    };
    socket = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket&user=${user}`, {
      perMessageDeflate: false,
    });
    socket.on("error", reject);
    socket.on("message", (data) => onText(data.toString()));
  });
}

/** Closes sockets without waiting for the other side. */
export function terminate(sockets) {
  for (const socket of sockets) socket.terminate();
}
