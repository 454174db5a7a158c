// The simulated network between browser and gateway. A test can cut it, or block, freeze or hang only its WebSockets.

import { connect, createServer, type Server, type Socket } from "node:net";

export class Network {
  #server: Server;
  #connections = new Set<Socket>();
  #webSockets = new Set<Socket>();
  #isCut = false;
  #areSocketsBlocked = false;
  #areSocketsHanging = false;
  /** Undoes the forwarding of each open WebSocket, without closing anything. */
  #freeze = new Map<Socket, () => void>();
  /** The number of WebSockets that browsers have tried to open. */
  socketAttempts = 0;
  /** The port of the gateway. */
  target = 0;

  private constructor() {
    this.#server = createServer((near) => this.#forward(near));
  }

  /** Listens on a free port, which stays the same when the gateway restarts. */
  static async start(): Promise<Network> {
    const network = new Network();
    await new Promise<void>((resolve) => network.#server.listen(0, "127.0.0.1", resolve));
    return network;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the network is not listening");
    return address.port;
  }

  /** Ends all connections, and lets nothing pass in either direction. */
  cut(): void {
    this.#isCut = true;
    for (const end of this.#connections) end.destroy();
  }

  restore(): void {
    this.#isCut = false;
  }

  /** Behaves like a proxy without WebSocket support: ends open sockets and refuses new ones. */
  blockSockets(): void {
    this.#areSocketsBlocked = true;
    for (const end of this.#webSockets) end.destroy();
  }

  allowSockets(): void {
    this.#areSocketsBlocked = false;
    this.#areSocketsHanging = false;
  }

  /** Stops forwarding on the WebSockets that are open, without closing them. Neither end can notice. */
  freezeSockets(): void {
    for (const freeze of this.#freeze.values()) freeze();
  }

  /** Accepts the connections of new WebSockets, and never answers their handshakes. */
  hangSockets(): void {
    this.#areSocketsHanging = true;
  }

  /** The number of open WebSockets. */
  get openSockets(): number {
    return this.#webSockets.size;
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #forward(near: Socket): void {
    near.on("error", () => near.destroy());
    if (this.#isCut) {
      near.destroy();
      return;
    }
    this.#track(this.#connections, near);
    // A browser opens a WebSocket on its own connection, so the first bytes identify it.
    near.once("data", (first) => {
      if (first.subarray(0, 9).toString() === "GET /live") {
        this.socketAttempts++;
        if (this.#areSocketsBlocked) {
          near.destroy();
          return;
        }
        if (this.#areSocketsHanging) return;
        this.#track(this.#webSockets, near);
      }
      const far = connect(this.target, "127.0.0.1");
      this.#track(this.#connections, far);
      far.on("error", () => near.destroy());
      far.on("close", () => near.destroy());
      near.on("close", () => far.destroy());
      far.write(first);
      near.pipe(far).pipe(near);
      if (!this.#webSockets.has(near)) return;
      this.#freeze.set(near, () => {
        near.unpipe(far);
        far.unpipe(near);
        // Reads on, so that the end of either is still noticed and its memory freed.
        near.resume();
        far.resume();
      });
      near.on("close", () => this.#freeze.delete(near));
    });
  }

  #track(set: Set<Socket>, socket: Socket): void {
    set.add(socket);
    socket.on("close", () => set.delete(socket));
  }
}
