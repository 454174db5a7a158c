// @vitest-environment happy-dom

import { act, cleanup, configure, render, renderHook, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { memo, type ReactElement, type ReactNode, StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { useStore } from "zustand";
import type { Notification, State } from "../../src/index.js";
import { CarillonProvider, useCarillon, useClient, useEvents, useNotifications } from "../../src/react.js";
import { type Device, deviceOf } from "../harness/device.js";
import { FakeServer, refusal } from "../harness/server.js";

// The longest wait, on a busy machine.
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

const within = ({ children }: { children: ReactNode }): ReactElement => (
  <CarillonProvider client={device.client}>{children}</CarillonProvider>
);

/** An inbox like the one in the README, with every action. */
function Inbox(): ReactElement {
  const inbox = useNotifications();
  return (
    <main>
      <h1>
        {inbox.unreadCount} unread, {inbox.wsStatus}
      </h1>
      {inbox.error && <p role="alert">{inbox.error.message}</p>}
      <button type="button" onClick={() => inbox.setActiveTab("unread")}>
        Unread
      </button>
      <button type="button" onClick={() => inbox.setActiveTab("news")}>
        News
      </button>
      <button type="button" onClick={() => void inbox.markAllAsRead()}>
        Read all
      </button>
      <ul>
        {inbox.filteredNotifications.map(({ id, title }) => (
          <li key={id}>
            <button type="button" onClick={() => void inbox.markAsRead(id)}>
              {title}
            </button>
            <button type="button" onClick={() => void inbox.deleteNotification(id)}>
              Delete {title}
            </button>
          </li>
        ))}
      </ul>
      {inbox.hasMore && (
        <button type="button" onClick={() => void inbox.loadMore()}>
          More
        </button>
      )}
    </main>
  );
}

const rows = (): (string | undefined)[] =>
  screen.queryAllByRole("listitem").map((row) => row.querySelector("button")?.textContent);
const press = (name: string): Promise<void> => userEvent.click(screen.getByRole("button", { name }));

describe("a page", () => {
  test("shows existing notifications and arrivals", async () => {
    server.send({ title: "before" });
    render(<Inbox />, { wrapper: within });
    await screen.findByText("1 unread, connected");
    act(() => void server.send({ title: "after" }));
    expect(rows()).toEqual(["after", "before"]);
    expect(screen.getByText("2 unread, connected")).toBeDefined();
  });

  test("marks as read, deletes and pages", async () => {
    for (let n = 0; n < 60; n++) server.send({ title: `t${n}` });
    render(<Inbox />, { wrapper: within });
    await screen.findByText("60 unread, connected");
    expect(rows().length).toBe(50);
    await press("More");
    await eventually(() => expect(rows().length).toBe(60));
    expect(screen.queryByRole("button", { name: "More" })).toBeNull();
    await press("t59");
    await screen.findByText("59 unread, connected");
    await press("Delete t58");
    expect(rows().slice(0, 2)).toEqual(["t59", "t57"]);
    await press("Unread");
    expect(rows()[0]).toBe("t57");
    await press("Read all");
    await screen.findByText("0 unread, connected");
    expect(rows()).toEqual([]);
    await eventually(() => expect(server.unreadCount).toBe(0));
  });

  test("shows a tab for a type", async () => {
    server.send({ title: "like" });
    server.send({ title: "paper", type: "news" });
    render(<Inbox />, { wrapper: within });
    await screen.findByText("2 unread, connected");
    await press("News");
    expect(rows()).toEqual(["paper"]);
  });

  test("undoes a refused change, and shows the error", async () => {
    server.send({ title: "stays" });
    render(<Inbox />, { wrapper: within });
    await screen.findByText("1 unread, connected");
    server.fault = ({ method }) => (method === "DELETE" ? refusal(403, "forbidden") : undefined);
    await press("Delete stays");
    expect((await screen.findByRole("alert")).textContent).toBe("forbidden");
    expect(rows()).toEqual(["stays"]);
  });

  test("connects once in strict mode, and closes on unmount", async () => {
    const page = render(<Inbox />, { wrapper: ({ children }) => <StrictMode>{within({ children })}</StrictMode> });
    await screen.findByText("0 unread, connected");
    expect(server.callsTo("/api/ws/ticket").length).toBe(1);
    page.unmount();
    expect(server.openSockets).toEqual([]);
    expect(device.state().wsStatus).toBe("closed");
  });

  test("with two providers of one client stays connected until the last one unmounts", async () => {
    const first = render(<Inbox />, { wrapper: within });
    const second = render(<Inbox />, { wrapper: within });
    await eventually(() => expect(device.state().wsStatus).toBe("connected"));
    first.unmount();
    expect(device.state().wsStatus).toBe("connected");
    second.unmount();
    expect(device.state().wsStatus).toBe("closed");
  });
});

describe("hooks", () => {
  test("return every field of the contract", async () => {
    const { result } = renderHook(useNotifications, { wrapper: within });
    expect(Object.keys(result.current).sort()).toEqual(
      [
        "notifications filteredNotifications groupedNotifications hasNotifications unreadCount loading loadingMore error activeTab",
        "dismissError setActiveTab markAsRead markAsUnread markAllAsRead deleteNotification snooze hasMore loadMore wsStatus transport",
      ]
        .join(" ")
        .split(" ")
        .sort(),
    );
    await eventually(() => expect(result.current.transport).toBe("websocket"));
    expect(result.current).toMatchObject({ hasNotifications: false, activeTab: "all", error: null, loading: false });
    act(() => void server.send({ title: "x" }));
    expect(result.current.hasNotifications).toBe(true);
    expect(result.current.groupedNotifications[0]?.items).toEqual(result.current.notifications);
  });

  test("return stable functions", async () => {
    const { result } = renderHook(useNotifications, { wrapper: within });
    const before = result.current;
    act(() => void server.send());
    await eventually(() => expect(result.current.wsStatus).toBe("connected"));
    for (const name of [
      "markAsRead",
      "markAsUnread",
      "markAllAsRead",
      "deleteNotification",
      "loadMore",
      "setActiveTab",
    ] as const) {
      expect(result.current[name]).toBe(before[name]);
    }
  });

  test("share the active tab under one provider", () => {
    const both = renderHook(() => [useNotifications(), useNotifications()] as const, { wrapper: within });
    act(() => both.result.current[0].setActiveTab("unread"));
    expect(both.result.current[1].activeTab).toBe("unread");
  });

  test("render again only if the selected part changes", async () => {
    let renders = 0;
    const { result } = renderHook(
      () => {
        renders++;
        return useCarillon(({ wsStatus }) => wsStatus);
      },
      { wrapper: within },
    );
    await eventually(() => expect(result.current).toBe("connected"));
    const before = renders;
    act(() => void server.send());
    expect(device.state().unreadCount).toBe(1);
    expect(renders).toBe(before);
  });

  test.each([
    ["an array", ({ notifications }: State) => notifications.map(({ title }) => title)],
    ["an object", ({ unreadCount, notifications }: State) => ({ unreadCount, titles: notifications.length })],
  ])("accept a selector that makes %s, and keep its value while nothing in it differs", async (_, selector) => {
    const error = vi.spyOn(console, "error");
    let renders = 0;
    const { result } = renderHook(
      () => {
        renders++;
        return useCarillon((state) => selector(state));
      },
      { wrapper: within },
    );
    await eventually(() => expect(device.state().wsStatus).toBe("connected"));
    const { current } = result;
    const before = renders;
    act(() => device.client.dismissError());
    act(() => device.client.setTransports(["polling"]));
    expect(result.current).toBe(current);
    expect(renders).toBe(before);
    act(() => device.client.setTransports(["websocket"]));
    await eventually(() => expect(device.state().wsStatus).toBe("connected"));
    act(() => void server.send({ title: "new" }));
    expect(result.current).toEqual(selector(device.state()));
    expect(result.current).not.toEqual(current);
    expect(error).not.toHaveBeenCalled();
  });

  test("compare with the function that is given", async () => {
    const isEqual = vi.fn((one: number, other: number) => Math.floor(one / 2) === Math.floor(other / 2));
    const { result } = renderHook(() => useCarillon(({ unreadCount }) => unreadCount, isEqual), { wrapper: within });
    await eventually(() => expect(device.state().wsStatus).toBe("connected"));
    act(() => void server.send());
    expect(result.current).toBe(0);
    act(() => void server.send());
    expect(result.current).toBe(2);
  });

  test("mark all of a type as read, and everything if there is none", async () => {
    server.send({ type: "news" });
    server.send({ type: "like" });
    server.send({ type: "chat" });
    const { result } = renderHook(useNotifications, { wrapper: within });
    await eventually(() => expect(result.current.unreadCount).toBe(3));
    await act(() => result.current.markAllAsRead("news"));
    expect(result.current.unreadCount).toBe(2);
    expect(server.changeFrames[0]).toMatchObject({ action: "readAll", type: "news" });
    // As an event handler it is given an event, which is no type.
    await act(() => (result.current.markAllAsRead as unknown as (event: Event) => Promise<void>)(new Event("click")));
    expect(server.unreadCount).toBe(0);
  });

  test("throw an error outside a provider", () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    expect(() => renderHook(useClient)).toThrow("no CarillonProvider above this component");
  });
});

test("the store works with Zustand", async () => {
  const { result } = renderHook(() => useStore(device.client.store, ({ unreadCount }) => unreadCount));
  expect(result.current).toBe(0);
  device.client.connect();
  await eventually(() => expect(device.state().wsStatus).toBe("connected"));
  act(() => void server.send());
  expect(result.current).toBe(1);
  expect(device.client.store.getInitialState().unreadCount).toBe(0);
});

let renders: string[];

const Row = memo(function Row({ item }: { item: Notification }): ReactElement {
  renders.push(item.id);
  return <li>{item.title}</li>;
});

function List(): ReactElement {
  return (
    <ul>
      {useNotifications().notifications.map((item) => (
        <Row key={item.id} item={item} />
      ))}
    </ul>
  );
}

describe("with 10,000 notifications", () => {
  beforeEach(async () => {
    renders = [];
    for (let n = 0; n < 10_000; n++) server.send({ frame: "lost" });
    device.client.close();
    device = deviceOf(server, { pageSize: 10_000 });
    render(<List />, { wrapper: within });
    await eventually(() => expect(renders.length).toBe(10_000));
    renders = [];
  });

  test("a change to one renders only its row", async () => {
    act(() => void server.send());
    expect(renders).toEqual(["n10001"]);
    renders = [];
    act(() => void server.change("read", ["n5000"]));
    expect(renders).toEqual(["n5000"]);
    renders = [];
    act(() => void server.change("deleted", ["n2"]));
    expect(renders).toEqual([]);
    await act(async () => {
      await device.client.markAsRead("n7000");
    });
    expect(new Set(renders)).toEqual(new Set(["n7000"]));
    expect(renders.length).toBeLessThanOrEqual(2);
  });
});

describe("useEvents", () => {
  test("returns the last 50 that were emitted, newest first, or those of a type, until the user signs out", async () => {
    const heard = { wrapper: within };
    const all = renderHook(() => useEvents(), heard);
    expect(all.result.current).toEqual([]);
    await eventually(() => expect(device.state().transport).toBe("websocket"));
    server.send();
    act(() => {
      for (let n = 0; n < 60; n++) server.emit({ type: n % 2 === 0 ? "system" : "dashboard", id: `x${n}` });
    });
    await eventually(() => expect(all.result.current.length).toBe(50));
    expect(all.result.current[0]?.id).toBe("x59");
    // A component that comes later sees the same.
    const dashboard = renderHook(() => useEvents("dashboard"), heard);
    expect(dashboard.result.current.length).toBe(25);
    const before = dashboard.result.current;
    dashboard.rerender();
    expect(dashboard.result.current).toBe(before);
    await act(() => device.client.signOut());
    expect(all.result.current).toEqual([]);
  });
});
