// Who the user is: tokens that fail, hang, are none, or are another user's.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CarillonError } from "../../src/index.js";
import { connected, type Device, deviceOf, pass, settle } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

let server: FakeServer;
let device: Device;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
});

afterEach(() => {
  device.client.close();
  vi.useRealTimers();
});

describe("a getToken", () => {
  test.each(["Failed to fetch", "fetch failed", "NetworkError when attempting to fetch resource.", "Load failed"])(
    "that no network answers is told as that: %s",
    async (message) => {
      const getToken = async (): Promise<string> => {
        throw new TypeError(message);
      };
      device = await connected(deviceOf(server, { getToken }));
      expect(device.state()).toMatchObject({ wsStatus: "offline", error: { code: "no_answer" } });
      device.client.close();
      device = await connected(deviceOf(server, { getToken, userId: "alice" }));
      expect(device.state()).toMatchObject({ wsStatus: "offline", error: { code: "no_answer" } });
    },
  );

  test("that throws an error of ours is told as what it says, and asked again when it says", async () => {
    let asked = 0;
    const getToken = async (): Promise<string> => {
      asked++;
      throw new CarillonError("overloaded", "later", { status: 503, retryAfterMs: 20_000 });
    };
    device = await connected(deviceOf(server, { getToken }));
    expect(device.state()).toMatchObject({ wsStatus: "reconnecting", error: { code: "overloaded", status: 503 } });
    await pass(19_000);
    expect(asked).toBe(1);
    await pass(1_500);
    expect(asked).toBe(2);
  });

  test("with a mistake in it is not mistaken for the network", async () => {
    const getToken = async (): Promise<string> => (undefined as unknown as { token: string }).token;
    device = await connected(deviceOf(server, { getToken }));
    expect(device.state()).toMatchObject({ wsStatus: "reconnecting", error: { code: "token_unavailable" } });
  });

  test("that never settles is told, and asked again", async () => {
    let asked = 0;
    const getToken = (): string | Promise<string> => (++asked > 1 ? tokenOf("alice") : new Promise(() => {}));
    device = await connected(deviceOf(server, { getToken }));
    await pass(20_000);
    expect(device.state().error?.code).toBe("token_unavailable");
    await pass(1_000);
    expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
  });

  test.each([undefined, null, { token: "x" }, "two\nlines"])("that gives no token is told: %j", async (given) => {
    device = await connected(deviceOf(server, { getToken: () => given as string }));
    await pass(60_000);
    expect(new Set(device.codes())).toEqual(new Set(["token_unavailable"]));
    expect(server.calls).toEqual([]);
  });

  test("that gives an ended token for ever is asked within the backoff", async () => {
    let asked = 0;
    const ended = tokenOf("alice", Date.now() - 60_000);
    const getToken = (): string => {
      asked++;
      return ended;
    };
    device = await connected(deviceOf(server, { getToken }));
    await pass(300_000);
    expect(device.codes()).toContain("token_expired");
    expect(asked).toBeLessThan(250);
  });
});

describe("another user", () => {
  test("who signs in while the client is closed is asked for, though the token before has not ended", async () => {
    server.send({ title: "alice's" });
    let sub = "alice";
    device = await connected(deviceOf(server, { getToken: () => tokenOf(sub) }));
    expect(device.titles()).toEqual(["alice's"]);
    device.client.close();
    sub = "bob";
    await connected(device);
    expect(device.state().userId).toBe("bob");
    expect(device.titles()).toEqual([]);
  });

  test("is not replaced by the one before, whose token was still on its way", async () => {
    let give = (_: string): void => {};
    let asked = 0;
    const getToken = (): string | Promise<string> =>
      ++asked > 1
        ? tokenOf("bob")
        : new Promise((resolve) => {
            give = resolve;
          });
    device = await connected(deviceOf(server, { getToken }));
    device.client.close();
    await connected(device);
    expect(device.state()).toMatchObject({ userId: "bob", wsStatus: "connected" });
    give(tokenOf("alice"));
    await pass(1_000);
    expect(device.state().userId).toBe("bob");
  });

  test("than the application said stays the user when the page connects again", async () => {
    server.send({ title: "alice's" });
    const users = new Set<string | null>();
    device = await connected(deviceOf(server, { sub: "bob", userId: "alice" }));
    expect(device.state().userId).toBe("bob");
    device.client.store.subscribe(({ userId }) => users.add(userId));
    device.client.close();
    await connected(device);
    expect([...users]).toEqual(["bob"]);
  });

  test("is not given the answer to a request of the one before", async () => {
    let sub = "alice";
    // So short that each call asks for another.
    device = await connected(deviceOf(server, { getToken: () => tokenOf(sub, Date.now() + 20_000) }));
    let release = (): void => {};
    server.fault = ({ path }) => {
      if (!path.startsWith("/api/notifications?limit=7")) return undefined;
      return new Promise((resolve) => {
        release = () => resolve(undefined);
      });
    };
    const refused = expect(device.client.request("GET", "/api/notifications?limit=7")).rejects.toMatchObject({
      code: "user_changed",
    });
    await settle();
    sub = "bob";
    await device.client.refresh().catch(() => {});
    await settle();
    expect(device.state().userId).toBe("bob");
    release();
    await refused;
  });
});
