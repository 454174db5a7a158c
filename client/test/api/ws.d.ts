// What @types/ws leaves out.
import type { Writable } from "node:stream";

declare module "ws" {
  export class Receiver extends Writable {
    constructor(options: { isServer: boolean });
  }
}
