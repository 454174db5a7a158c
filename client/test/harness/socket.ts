// A WebSocket of a device, connected to the in-memory server.

/** What the server does with sockets. */
export interface SocketServer {
  /** Whether it accepts the socket. */
  connected(socket: FakeSocket, url: URL): boolean;
  received(socket: FakeSocket, text: string): void;
}

export class FakeSocket {
  readyState = 0;
  /** Simulates a network that fails without closing the socket. */
  isDead = false;
  readonly sent: { action: string; [member: string]: unknown }[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: (() => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;

  readonly url: URL;
  user: string | null = null;
  private readonly server: SocketServer;

  constructor(server: SocketServer, url: URL) {
    this.server = server;
    this.url = url;
    const isAccepted = server.connected(this, url);
    queueMicrotask(() => {
      if (this.readyState !== 0 || this.isDead) return;
      if (!isAccepted) return this.end(1006);
      this.readyState = 1;
      this.onopen?.();
    });
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
    if (!this.isDead) queueMicrotask(() => this.server.received(this, text));
  }

  receive(data: unknown): void {
    if (!this.isDead && this.readyState === 1) this.onmessage?.({ data });
  }

  close(): void {
    this.readyState = 3;
  }

  /** Closes it from the server's side. */
  end(code = 1001): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }
}
