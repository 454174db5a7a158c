// The presence of users in an in-memory server, by the rules of the contract.

import type { FakeChats } from "./chats.js";
import { json, refusal } from "./response.js";

interface Seen {
  readonly online: boolean | null;
  readonly lastSeenAt: string | null;
}

export class FakePresence {
  /** The users whose presence is known. All others are offline. */
  private readonly seen: Map<string, Seen> = new Map();
  /** The users of each question, over whichever transport. */
  readonly asked: (readonly string[])[] = [];
  private readonly chats: FakeChats;
  private readonly push: (user: string, frame: object) => void;

  constructor(chats: FakeChats, push: (user: string, frame: object) => void) {
    this.chats = chats;
    this.push = push;
  }

  /** A user comes or goes. Those who may know are told, unless the frame is lost. */
  set(userId: string, online: boolean | null, frame: "pushed" | "lost" = "pushed"): void {
    this.seen.set(userId, { online, lastSeenAt: new Date().toISOString() });
    if (frame === "lost") return;
    const others = new Set([...this.chats.rows.values()].flatMap(({ members }) => [...members.keys()]));
    for (const other of others) if (this.chats.know(other, userId)) this.push(other, this.answer(other, [userId]));
  }

  /** The reply to a frame. */
  tell(viewer: string, userIds: readonly string[]): object {
    this.asked.push(userIds);
    return this.answer(viewer, userIds);
  }

  serve(viewer: string, url: URL): Response {
    const each = url.searchParams.getAll("userId");
    const userIds = each.length > 0 ? each : (url.searchParams.get("userIds") ?? "").split(",");
    if (userIds.includes("") || userIds.length > 200) return refusal(422, "validation_failed");
    return json(200, this.tell(viewer, userIds));
  }

  private answer(viewer: string, userIds: readonly string[]): object {
    const users = userIds
      .filter((userId) => this.chats.know(viewer, userId))
      .map((userId) => ({ userId, ...(this.seen.get(userId) ?? { online: false, lastSeenAt: null }) }));
    return { type: "presence", users };
  }
}
