// An event stream of the in-memory server.

export class FakeStream {
  readonly user: string;
  readonly since: string | null;
  readonly response: Response;
  isOpen = true;
  /** Simulates a network that passes nothing on and closes nothing. */
  isDead = false;
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(user: string, since: string | null) {
    this.user = user;
    this.since = since;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.controller = controller;
      },
      cancel: () => this.left(),
    });
    this.response = new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  write(text: string): void {
    if (this.isOpen && !this.isDead) this.controller?.enqueue(new TextEncoder().encode(text));
  }

  event(json: string): void {
    this.write(`data: ${json}\n\n`);
  }

  /** Ends it from the server's side. */
  end(): void {
    if (this.isOpen) this.controller?.close();
    this.isOpen = false;
  }

  /** The client aborted the call. */
  left(): void {
    if (this.isOpen) this.controller?.error(new Error("aborted"));
    this.isOpen = false;
  }
}
