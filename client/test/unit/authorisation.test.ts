// Tokens that run out, are refused, or cannot be had while a connection is open.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, refusal } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

const HOUR_MS = 3_600_000;
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

const noAnswer = (): never => {
  throw new TypeError("fetch failed");
};

test("the socket gets a new token before the old one expires", async () => {
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + 600_000) });
  await connected(device);
  const actions = (): string[] => server.sockets.flatMap((socket) => socket.sent.map(({ action }) => action));
  await advance(539_000);
  expect(actions()).not.toContain("auth");
  await advance(2_000);
  expect(actions().filter((action) => action === "auth").length).toBe(1);
  await advance(540_000);
  expect(actions().filter((action) => action === "auth").length).toBe(2);
  expect(server.sockets.length).toBe(1);
});

test("the expiry of a token is measured by the server's clock", async () => {
  // The device's clock is an hour fast, so every token seems to have expired.
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + 600_000) });
  server.fault = ({ path }) =>
    path === "/api/ws/ticket"
      ? new Response(
          JSON.stringify({
            ticket: "t",
            expiresAt: new Date(Date.now() - HOUR_MS).toISOString(),
            url: "ws://carillon.test/live",
          }),
          { status: 201 },
        )
      : undefined;
  server.connected = (socket) => server.sockets.push(socket) > 0;
  await connected(device);
  const authCount = (): number =>
    server.sockets.flatMap(({ sent }) => sent).filter(({ action }) => action === "auth").length;
  await advance(HOUR_MS);
  expect(authCount()).toBe(0);
});

test("an expired token is replaced, and the client continues", async () => {
  let validMinutes = -1;
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + validMinutes * 60_000) });
  await connected(device);
  expect(device.codes()).toContain("token_expired");
  expect(device.state().error).toMatchObject({ code: "token_expired", status: 401, source: "connection" });
  expect(device.state().wsStatus).not.toBe("connected");
  validMinutes = 60;
  await advance(60_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
});

test("a refused token is requested once more before the call fails", async () => {
  let calls = 0;
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + (++calls === 1 ? 3_600_000 : 7_200_000)) });
  let refused = 0;
  server.fault = () => (refused++ === 0 ? refusal(401, "invalid_token") : undefined);
  await connected(device);
  expect(device.state().wsStatus).toBe("connected");
  expect(calls).toBe(2);
});

test("the failure of a token does not outlive it when the same user connects again", async () => {
  let isReachable = true;
  device = deviceOf(server, {
    getToken: () => (isReachable ? tokenOf("alice") : noAnswer()),
  });
  await connected(device);
  device.client.close();
  isReachable = false;
  device.client.connect();
  await settle();
  expect(device.state().error?.code).toBe("no_answer");
  isReachable = true;
  await advance(5_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
});

test("a failing getToken is reported, and called again", async () => {
  let isSignedIn = false;
  device = deviceOf(server, {
    getToken: () => {
      if (!isSignedIn) throw new Error("signed out");
      return tokenOf("alice");
    },
  });
  await connected(device);
  expect(device.state().error).toMatchObject({
    code: "token_unavailable",
    message: "getToken failed: Error: signed out",
  });
  isSignedIn = true;
  await advance(30_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
});
