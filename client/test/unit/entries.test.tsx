// @vitest-environment happy-dom

// What the contract names of the entries for React, and that its parts work together.

import { act, cleanup, configure, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { type ReactElement, StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import * as chatReact from "../../src/chat-react.js";
import * as chatUi from "../../src/chat-ui/index.js";
import * as react from "../../src/react.js";
import {
  CarillonProvider,
  signOut,
  useChat,
  useChats,
  useNotifications,
  usePreferences,
  usePresence,
} from "../../src/react.js";
import * as ui from "../../src/ui/index.js";
import { type Device, deviceOf } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";

const timeout = 30_000;
configure({ asyncUtilTimeout: timeout });
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout });

let server: FakeServer;
let device: Device;

beforeEach(() => {
  server = new FakeServer();
  device = deviceOf(server);
});

afterEach(() => {
  cleanup();
  device.client.close();
});

const provided = (by: Device, children?: ReactElement): ReactElement => (
  <StrictMode>
    <CarillonProvider client={by.client}>{children}</CarillonProvider>
  </StrictMode>
);

test("react has the hooks of chats, and ui their component: the same as the entries for chats alone", () => {
  expect(react).toMatchObject({ ...chatReact });
  expect(ui.Chats).toBe(chatUi.Chats);
  expect(Object.keys(ui)).toEqual(expect.arrayContaining(["Bell", "Inbox", "Toasts", "Chats"]));
});

function Everything({ chatId }: { chatId: string }): ReactElement {
  const { notifications } = useNotifications();
  const { chats } = useChats();
  const { messages } = useChat(chatId);
  const presence = usePresence(["bob"]);
  const { preferences } = usePreferences();
  return (
    <ul>
      <li>{notifications.map(({ title }) => title)}</li>
      <li>{chats.map(({ id }) => id)}</li>
      <li>{messages.map(({ body }) => body)}</li>
      <li>{String(presence.get("bob")?.online)}</li>
      <li>{preferences && "preferences"}</li>
    </ul>
  );
}

test("the hooks of the contract show what there is, under one provider", async () => {
  server.send({ title: "Parcel" });
  const id = server.chats.between("alice", "bob");
  server.chats.say(id, "bob", "Hi");
  server.presence.set("bob", true);
  render(provided(device, <Everything chatId={id} />));
  const shown = (): (string | null)[] => screen.getAllByRole("listitem").map(({ textContent }) => textContent);
  await eventually(() => expect(shown()).toEqual(["Parcel", id, "Hi", "true", "preferences"]));
});

test("the components of the contract stand on one page", async () => {
  server.send({ title: "Parcel" });
  server.chats.between("alice", "bob");
  render(
    provided(
      device,
      <>
        <ui.Bell />
        <ui.Inbox />
        <ui.Toasts />
        <ui.Chats />
      </>,
    ),
  );
  await screen.findByRole("button", { name: "Notifications, 1 unread" });
  await screen.findByText("Parcel");
  await eventually(() => expect(document.querySelector("[data-chat]")?.textContent).toContain("bob"));
});

const Count = ({ onClick }: { onClick: () => unknown }): ReactElement => (
  <button type="button" onClick={onClick}>
    {useNotifications().unreadCount} unread
  </button>
);

describe("signOut", () => {
  test("empties the page at once, and resolves when the device has forgotten the user", async () => {
    const steps: unknown[] = [];
    const leave = async (): Promise<void> => {
      const done = signOut();
      steps.push(device.state().userId);
      await done;
      steps.push("done");
    };
    device.client.onSignOut((userId) => void steps.push(`forget ${userId}`));
    server.send({ title: "Parcel" });
    render(provided(device, <Count onClick={leave} />));
    await userEvent.click(await screen.findByText("1 unread"));
    await screen.findByText("0 unread");
    await eventually(() => expect(steps).toEqual([null, "forget alice", "done"]));
    expect(device.state()).toMatchObject({ wsStatus: "closed", notifications: [] });
  });

  test("signs out the client of every mounted provider once, and no other", async () => {
    const [bob, carol] = [deviceOf(server, { sub: "bob" }), deviceOf(server, { sub: "carol" })];
    const calls = [device, bob, carol].map(({ client }) => vi.spyOn(client, "signOut"));
    render(provided(device, provided(device, provided(bob))));
    const unmounted = render(provided(carol));
    await eventually(() => expect(carol.state().userId).toBe("carol"));
    unmounted.unmount();
    await act(signOut);
    expect(calls.map(({ mock }) => mock.calls.length)).toEqual([1, 1, 0]);
    bob.client.close();
  });

  test("signs out the present client of a provider, not one that it had before", async () => {
    const bob = deviceOf(server, { sub: "bob" });
    const calls = [device, bob].map(({ client }) => vi.spyOn(client, "signOut"));
    const { rerender } = render(provided(device));
    rerender(provided(bob));
    await act(signOut);
    expect(calls.map(({ mock }) => mock.calls.length)).toEqual([0, 1]);
    bob.client.close();
  });

  test("rejects while no provider is mounted: nothing would be forgotten", async () => {
    await expect(signOut()).rejects.toThrow("no CarillonProvider is mounted");
    render(provided(device)).unmount();
    await expect(signOut()).rejects.toThrow("no CarillonProvider is mounted");
  });
});
