// @vitest-environment happy-dom

import { act, cleanup, renderHook } from "@testing-library/react";
import { type ReactElement, type ReactNode, StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ViewFilter } from "../../src/index.js";
import { CarillonProvider, type Notifications, useNotifications } from "../../src/react.js";
import { type Device, deviceOf } from "../harness/device.js";
import { FakeServer, refusal } from "../harness/server.js";

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 30_000 });

let server: FakeServer;
let device: Device;

beforeEach(() => {
  server = new FakeServer();
  for (let n = 0; n < 30; n++) server.send({ title: `t${n}`, type: n % 3 === 0 ? "news" : "like", frame: "lost" });
  device = deviceOf(server, { pageSize: 5 });
});

afterEach(() => {
  cleanup();
  device.client.close();
});

const within = ({ children }: { children: ReactNode }): ReactElement => (
  <StrictMode>
    <CarillonProvider client={device.client}>{children}</CarillonProvider>
  </StrictMode>
);

const titles = ({ filteredNotifications }: Notifications): string[] => filteredNotifications.map(({ title }) => title);
const lists = (): string[] => server.callsTo("/api/notifications?").map(({ path }) => path.split("?")[1] ?? "");
const news = (count: number): string[] => Array.from({ length: count }, (_, n) => `t${27 - 3 * n}`);

test("a tab has pages of its own, and the whole inbox stays as it is", async () => {
  const { result } = renderHook(() => useNotifications(), { wrapper: within });
  await eventually(() => expect(result.current.notifications.length).toBe(5));
  act(() => result.current.setActiveTab("news"));
  // At once what is loaded already, without a moment of emptiness.
  expect(titles(result.current)).toEqual(news(1));
  await eventually(() => expect(titles(result.current)).toEqual(news(5)));
  expect(result.current).toMatchObject({ activeTab: "news", hasMore: true, unreadCount: 30, loading: false });
  expect(result.current.notifications.length).toBe(5);
  expect(result.current.groupedNotifications[0]?.items).toEqual(result.current.filteredNotifications);
  await act(() => result.current.loadMore());
  await eventually(() => expect(titles(result.current)).toEqual(news(10)));
  expect(result.current.hasMore).toBe(false);

  await eventually(() => expect(server.openSockets.length).toBe(1));
  act(() => void server.send({ title: "fresh", type: "news" }));
  expect(titles(result.current)[0]).toBe("fresh");
  act(() => result.current.setActiveTab("all"));
  expect(titles(result.current).length).toBe(6);
  const before = lists().length;
  act(() => result.current.setActiveTab("news"));
  await eventually(() => expect(titles(result.current).length).toBe(11));
  expect(lists().length).toBe(before);
});

test("the tab of what is unread loses what is read, at once", async () => {
  server.change("read", ["n30", "n29", "n28", "n27", "n26"], false);
  const { result } = renderHook(() => useNotifications(), { wrapper: within });
  await eventually(() => expect(result.current.notifications.length).toBe(5));
  act(() => result.current.setActiveTab("unread"));
  await eventually(() => expect(titles(result.current)).toEqual(["t24", "t23", "t22", "t21", "t20"]));
  act(() => void result.current.markAsRead("n24"));
  expect(titles(result.current)).toEqual(["t24", "t22", "t21", "t20"]);
  expect(result.current.unreadCount).toBe(24);
});

test("filters have lists and counts of their own, and equal ones share them", async () => {
  const { result } = renderHook(
    () =>
      [
        useNotifications({ type: "news" }),
        useNotifications({ type: "news", unread: true }),
        useNotifications({ type: "news" }),
      ] as const,
    { wrapper: within },
  );
  await eventually(() => expect(result.current.map(titles)).toEqual([news(5), news(5), news(5)]));
  await eventually(() => expect(result.current.map(({ unreadCount }) => unreadCount)).toEqual([10, 10, 10]));
  expect(lists().sort()).toEqual(["limit=5", "limit=5&type=news", "limit=5&type=news&unread=true"]);
  expect(result.current[0].notifications).toBe(result.current[2].notifications);
  act(() => void result.current[0].markAsRead("n28"));
  expect(result.current.map(titles)).toEqual([news(5), news(5).slice(1), news(5)]);
  expect(result.current.map(({ unreadCount }) => unreadCount)).toEqual([9, 9, 9]);
  await act(() => result.current[1].markAllAsRead());
  await eventually(() => expect(server.unreadOf("news")).toBe(0));
  expect(server.unreadOf("like")).toBe(20);
});

test("a filter that changes shows nothing of the one before", async () => {
  const shown: string[][] = [];
  const { result, rerender } = renderHook(
    (filter: ViewFilter) => {
      const inbox = useNotifications(filter);
      shown.push([filter.type ?? "", ...new Set(inbox.notifications.map(({ type }) => type))]);
      return inbox;
    },
    { wrapper: within, initialProps: { type: "news" } },
  );
  await eventually(() => expect(titles(result.current)).toEqual(news(5)));
  rerender({ type: "like" });
  await eventually(() => expect(result.current.notifications.length).toBe(5));
  rerender({ type: "weather" });
  await eventually(() => expect(result.current).toMatchObject({ hasNotifications: false, loading: false }));
  for (const [wanted, ...types] of shown) expect(types.filter((type) => type !== wanted)).toEqual([]);
});

test("an unmounted filter is released, and its functions stay the same while it is mounted", async () => {
  const { result, unmount } = renderHook(() => useNotifications({ type: "news" }), { wrapper: within });
  await eventually(() => expect(titles(result.current)).toEqual(news(5)));
  const before = result.current;
  act(() => void server.send({ type: "news" }));
  expect(result.current.notifications).not.toBe(before.notifications);
  for (const name of ["loadMore", "markAllAsRead", "dismissError", "setActiveTab"] as const) {
    expect(result.current[name]).toBe(before[name]);
  }
  const view = vi.spyOn(device.client, "view");
  unmount();
  expect(view).not.toHaveBeenCalled();
  expect(server.openSockets).toEqual([]);
});

test("a filter's failure is shown, and can be dismissed", async () => {
  server.fault = ({ path }) => (path.includes("cursor=") ? refusal(503, "overloaded") : undefined);
  const { result } = renderHook(() => useNotifications({ type: "news" }), { wrapper: within });
  await eventually(() => expect(titles(result.current)).toEqual(news(5)));
  await act(() => result.current.loadMore().catch(() => {}));
  expect(result.current).toMatchObject({ loadingMore: false, error: { code: "overloaded", action: "loadMore" } });
  act(() => result.current.dismissError());
  await eventually(() => expect(result.current.error).toBe(null));
});

function News(): ReactElement {
  const { loading, notifications } = useNotifications({ type: "news" });
  return <p>{`${loading} ${notifications.length}`}</p>;
}

test("on the server a filter is loading, and opens no view", () => {
  const view = vi.spyOn(device.client, "view");
  expect(renderToString(within({ children: <News /> }))).toBe("<p>true 0</p>");
  expect(view).not.toHaveBeenCalled();
});
