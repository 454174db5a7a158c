// The network between browser and gateway, in the test's hands: it can be cut, and it can lose sockets alone.

import { connect, createServer, type Server, type Socket } from "node:net";

export class Wire {
  #server: Server;
  #both = new Set<Socket>();
  #sockets = new Set<Socket>();
  #isCut = false;
  #withoutSockets = false;
  /** The port at the other end. */
  target = 0;

  private constructor() {
    this.#server = createServer((near) => this.#carry(near));
  }

  /** A wire on a free port of its own, which stays the same whatever becomes of the gateway. */
  static async lay(): Promise<Wire> {
    const wire = new Wire();
    await new Promise<void>((resolve) => wire.#server.listen(0, "127.0.0.1", resolve));
    return wire;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the wire is not laid");
    return address.port;
  }

  /** Nothing passes, in either direction, and what was open is gone. */
  cut(): void {
    this.#isCut = true;
    for (const end of this.#both) end.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  /** As a proxy that knows no WebSockets: what is open is gone, and none opens any more. */
  blockSockets(): void {
    this.#withoutSockets = true;
    for (const end of this.#sockets) end.destroy();
  }

  letSockets(): void {
    this.#withoutSockets = false;
  }

  /** How many WebSockets pass now. */
  get openSockets(): number {
    return this.#sockets.size;
  }

  async remove(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #carry(near: Socket): void {
    near.on("error", () => near.destroy());
    if (this.#isCut) {
      near.destroy();
      return;
    }
    this.#keep(this.#both, near);
    // A browser opens a WebSocket on a connection of its own, so the first bytes tell what it is.
    near.once("data", (first) => {
      if (first.subarray(0, 9).toString() === "GET /live") {
        if (this.#withoutSockets) {
          near.destroy();
          return;
        }
        this.#keep(this.#sockets, near);
      }
      const far = connect(this.target, "127.0.0.1");
      this.#keep(this.#both, far);
      far.on("error", () => near.destroy());
      far.on("close", () => near.destroy());
      near.on("close", () => far.destroy());
      far.write(first);
      near.pipe(far).pipe(near);
    });
  }

  #keep(set: Set<Socket>, socket: Socket): void {
    set.add(socket);
    socket.on("close", () => set.delete(socket));
  }
}
