// @vitest-environment happy-dom
// @vitest-environment-options { "url": "https://app.example.com/" }

import { act, cleanup, configure, fireEvent, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { type ReactElement, StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CarillonProvider } from "../../../src/react.js";
import { formatsOf } from "../../../src/ui/format.js";
import { Bell, de, en, es, Inbox, Toasts } from "../../../src/ui/index.js";
import { snoozeTimes } from "../../../src/ui/Snooze.js";
import { type Device, deviceOf } from "../../harness/device.js";
import { FakeServer } from "../../harness/server.js";

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

const show = (element: ReactElement): void => {
  render(
    <StrictMode>
      <CarillonProvider client={device.client}>{element}</CarillonProvider>
    </StrictMode>,
  );
};
const press = (name: string | RegExp): Promise<void> => userEvent.click(screen.getByRole("button", { name }));
const titles = (): (string | null | undefined)[] =>
  [...document.querySelectorAll("[data-notification]")].map((row) => row.querySelector("p")?.textContent);

describe("snoozing in the inbox", () => {
  test("asks until when, tells the server, and shows the row again at the end", async () => {
    server.send({ title: "One" });
    server.send({ title: "Two" });
    show(<Inbox />);
    await screen.findByText("Two");
    const before = Date.now();
    await press("Snooze: One");
    await press("1 hour");
    expect(document.querySelector("[data-gone]")?.textContent).toContain("Snoozed");
    fireEvent.pointerLeave(screen.getByRole("tabpanel"));
    expect(titles()).toEqual(["Unread: Two"]);
    await eventually(() => expect(server.callsTo("/api/notifications/n1/snooze").length).toBe(1));
    const until = Date.parse(String(server.callsTo("/api/notifications/n1/snooze")[0]?.body?.["until"]));
    expect(until - before).toBeGreaterThanOrEqual(3_600_000);
    expect(until - before).toBeLessThan(3_660_000);
    // The next deletion is not called a snooze.
    await press("Delete: Two");
    expect(document.querySelector("[data-gone]")?.textContent).toContain("Deleted");
    fireEvent.pointerLeave(screen.getByRole("tabpanel"));
    act(() => void server.wake("n1"));
    await eventually(() => expect(titles()).toEqual(["Unread: One"]));
  });

  test("works with the keyboard, and gives the focus back when it is cancelled", async () => {
    server.send({ title: "One" });
    server.send({ title: "Two" });
    show(<Bell />);
    await eventually(() => expect(device.state().unreadCount).toBe(2));
    await press(/2 unread/);
    act(() => screen.getByRole("button", { name: "Snooze: Two" }).focus());
    await userEvent.keyboard("{Enter}");
    const group = screen.getByRole("group", { name: "Snooze: Two" });
    expect(document.activeElement?.textContent).toBe("1 hour");
    expect(group.contains(document.activeElement)).toBe(true);
    await userEvent.keyboard("{Escape}");
    // The inbox itself stays open.
    expect(document.activeElement).toBe(screen.getByRole("button", { name: "Snooze: Two" }));
    await userEvent.keyboard("{Enter}{Tab}{Enter}");
    await eventually(() => expect(titles()).toEqual(["Unread: One"]));
    expect(document.activeElement).toBe(screen.getByRole("button", { name: "Snooze: One" }));
    await press("Snooze: One");
    await press("Cancel");
    expect(document.activeElement).toBe(screen.getByRole("button", { name: "Snooze: One" }));
    expect(titles()).toEqual(["Unread: One"]);
  });

  test("chooses nothing with the second click of a double click", async () => {
    server.send({ title: "One" });
    show(<Inbox />);
    await screen.findByText("One");
    await press("Snooze: One");
    fireEvent.click(screen.getByRole("button", { name: "1 hour" }), { detail: 2 });
    expect(titles()).toEqual(["Unread: One"]);
    fireEvent.click(screen.getByRole("button", { name: "1 hour" }), { detail: 1 });
    expect(document.querySelector("[data-gone]")?.textContent).toContain("Snoozed");
  });

  test.each([
    [en, "Snooze: One", "Snoozed until Tuesday "],
    [de, "Später erinnern: One", "Zurückgestellt bis Dienstag "],
    [es, "Posponer: One", "Pospuesta hasta martes "],
  ])("says until when, in $locale", async (labels, name, text) => {
    vi.useFakeTimers({ now: new Date(2026, 10, 23, 12), toFake: ["Date"] });
    server.send({ title: "One" });
    show(<Inbox labels={labels} />);
    await screen.findByText("One");
    await press(name);
    await press(labels.tomorrow);
    const { time } = formatsOf(labels.locale);
    expect(document.querySelector(".carillon-actions")?.textContent).toBe(text + time(new Date(2026, 10, 24, 8)));
    vi.useRealTimers();
  });

  test("offers tomorrow once, if that is a Monday", async () => {
    vi.useFakeTimers({ now: new Date(2026, 10, 22, 12), toFake: ["Date"] });
    server.send({ title: "One" });
    show(<Inbox />);
    await screen.findByText("One");
    await press("Snooze: One");
    const choices = screen.getByRole("group", { name: "Snooze: One" }).querySelectorAll("button");
    expect([...choices].map((choice) => choice.textContent || choice.title)).toEqual(["1 hour", "Tomorrow", "Cancel"]);
    vi.useRealTimers();
  });

  test("offers no time after the notification has expired", async () => {
    vi.useFakeTimers({ now: new Date(2026, 10, 23, 12), toFake: ["Date"] });
    server.send({ title: "One", expiresAt: new Date(Date.now() + 7_200_000).toISOString() });
    show(<Inbox />);
    await screen.findByText("One");
    await press("Snooze: One");
    expect(screen.getByRole("button", { name: "1 hour" })).toBeDefined();
    expect(screen.queryByRole("button", { name: "Monday" })).toBeNull();
    vi.useRealTimers();
  });
});

test.each([
  ["a Monday", new Date(2026, 10, 23, 9, 30), 30],
  ["a Sunday", new Date(2026, 10, 22, 23, 59), 23],
  ["a Wednesday", new Date(2026, 10, 25, 7), 30],
])("on %s the next week begins on the Monday after", (_, now, day) => {
  const [hour, tomorrow, week] = snoozeTimes(now);
  expect(hour.getTime()).toBe(now.getTime() + 3_600_000);
  expect(tomorrow).toEqual(new Date(2026, 10, now.getDate() + 1, 8));
  expect(week).toEqual(new Date(2026, 10, day, 8));
});

test("a silent notification shows in the inbox, and neither rings, nor pops up, nor is spoken", async () => {
  show(
    <>
      <Bell />
      <Toasts />
    </>,
  );
  await eventually(() => expect(device.state().wsStatus).toBe("connected"));
  act(() => void server.send({ title: "Quiet", silent: true }));
  expect(screen.getByRole("button", { name: "Notifications, 1 unread" })).toBeDefined();
  act(() => void server.send({ title: "Loud" }));
  await screen.findByText("New notification: Loud");
  expect(screen.queryByText(/Quiet/)).toBeNull();
  expect([...document.querySelectorAll("[data-toast]")].map(({ textContent }) => textContent)).toEqual(["Loud"]);
});
