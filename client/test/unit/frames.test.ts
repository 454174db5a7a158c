// The client reads the frames that the server writes, and writes the frames that the server reads.

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readFrame } from "../../src/frames.js";
import { fitOf } from "../../src/inbox.js";
import { CHAT_REF, type ClientFrame, type Frame } from "../../src/protocol.js";

const folder = new URL("../../../tests/frames/", import.meta.url);

function examples(subfolder: string): [string, string][] {
  const url = new URL(subfolder, folder);
  const names = readdirSync(url).filter((name) => name.endsWith(".json"));
  return names.map((name) => [name, readFileSync(new URL(name, url), "utf8")]);
}

describe("frames from the server", () => {
  const frames = examples("");

  test("have examples", () => {
    expect(frames.length).toBeGreaterThan(0);
  });

  test.each(frames)("%s is read without loss", (name, text) => {
    const frame = readFrame(text) as Frame;
    expect(frame).toEqual(JSON.parse(text));
    expect(name).toContain(frame.type);
  });

  test.each(frames.filter(([, text]) => (JSON.parse(text).prev ?? null) !== null))(
    "%s applies at its previous cursor, and is dropped at its own",
    (_, text) => {
      const step = JSON.parse(text);
      expect(fitOf(step.prev, step)).toBe("apply");
      expect(fitOf(step.cursor, step)).toBe("drop");
    },
  );

  // The client checks every field that it relies on, and rejects a frame without it.
  test.each(frames)("%s is rejected without a field that the client needs", (_, text) => {
    const frame = JSON.parse(text);
    const needed: Record<string, string[]> = {
      notification: ["cursor", "prev", "notification", "unreadCount"],
      changed: ["cursor", "prev", "ids", "change", "unreadCount"],
      fetch: ["cursor", "prev"],
      pong: ["cursor", "etag"],
      sync: ["notifications", "deleted", "unreadCount", "cursor", "etag", "complete"],
      error: ["code"],
      system: ["id"],
      dashboard: ["id"],
      announcement: ["id"],
      ok: [],
      resync: [],
    };
    expect(Object.keys(needed)).toContain(frame.type);
    for (const member of needed[frame.type] ?? []) {
      const { [member]: _, ...rest } = frame;
      expect(readFrame(JSON.stringify(rest)), member).toBeNull();
      expect(readFrame(JSON.stringify({ ...rest, [member]: { no: 1 } })), member).toBeNull();
    }
  });
});

describe("frames about chats", () => {
  const frames = examples("chat/");

  test.each(frames)("%s is left to the part that knows chats", (_, text) => {
    expect(readFrame(withChatRef(text))).toEqual({ type: "other", frame: JSON.parse(withChatRef(text)) });
  });

  test("and replies to other frames are not", () => {
    for (const text of ['{"type":"ok","ref":"r1"}', '{"type":"error","code":"internal","ref":"p1"}']) {
      expect(readFrame(text)).toEqual(JSON.parse(text));
    }
  });
});

/** Replies carry the `ref` of a frame that the client has sent. */
function withChatRef(text: string): string {
  const frame = JSON.parse(text);
  return JSON.stringify(frame.ref === undefined ? frame : { ...frame, ref: `${CHAT_REF}${frame.ref}` });
}

test("the frames that the client sends have the fields that the server reads", () => {
  const sent: Record<string, ClientFrame> = {
    ping: { action: "ping", ref: "p1" },
    ack: { action: "ack", cursor: "9c1f6e0b7a3d5e24.43" },
    auth: { action: "auth", ref: "a1", ticket: "q83vASNFZ4mrze8BI0VniQ" },
    sendMessage: {
      action: "sendMessage",
      chatId: "c",
      clientId: "m-7",
      body: "Hi",
      data: {},
      accept: "fast",
      ref: "chat-1",
    },
    readChat: { action: "readChat", chatId: "c", seq: 7, ref: "chat-1" },
    typing: { action: "typing", chatId: "c", on: false },
  };
  const read = new Map(examples("client/").map(([name, text]) => [name, JSON.parse(text)]));
  for (const [name, frame] of Object.entries(sent)) {
    const example = read.get(`${name}.json`);
    expect(Object.keys(frame).sort(), name).toEqual(Object.keys(example).sort());
    expect(frame.action).toBe(example.action);
  }
});
