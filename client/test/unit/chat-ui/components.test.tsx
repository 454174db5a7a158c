// @vitest-environment happy-dom
// @vitest-environment-options { "url": "https://app.example.com/" }

import { act, cleanup, configure, fireEvent, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { type ReactElement, type ReactNode, StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Chats, type ChatsProps, de, es } from "../../../src/chat-ui/index.js";
import { preferencesOf } from "../../../src/preferences.js";
import { CarillonProvider } from "../../../src/react.js";
import { type Device, deviceOf } from "../../harness/device.js";
import { FakeServer, refusal } from "../../harness/server.js";
import { tokenOf } from "../../harness/token.js";

const timeout = 30_000;
configure({ asyncUtilTimeout: timeout });
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout });

let server: FakeServer;
let device: Device;
let id: string;

beforeEach(() => {
  // Without it everything counts as in sight.
  vi.stubGlobal("IntersectionObserver", undefined);
  server = new FakeServer();
  device = deviceOf(server);
  id = server.chats.between("alice", "bob");
});

afterEach(() => {
  cleanup();
  device.client.close();
});

const page = ({ children }: { children: ReactNode }): ReactElement => (
  <StrictMode>
    <CarillonProvider client={device.client}>{children}</CarillonProvider>
  </StrictMode>
);
const show = (props: ChatsProps = {}): ReturnType<typeof render> => render(<Chats {...props} />, { wrapper: page });
const press = (name: string | RegExp): Promise<void> => userEvent.click(screen.getByRole("button", { name }));
const rows = (): (string | undefined)[] =>
  [...document.querySelectorAll("[data-chat]")].map((row) => row.querySelector(".carillon-chat-name")?.textContent);
const row = (name: string): HTMLElement => {
  const found = [...document.querySelectorAll<HTMLElement>("[data-chat]")].find((each) =>
    each.querySelector(".carillon-chat-name")?.textContent?.includes(name),
  );
  if (!found) throw new Error(`there is no chat with ${name}`);
  return found;
};
const texts = (): (string | null)[] =>
  [...document.querySelectorAll(".carillon-text")].map(({ textContent }) => textContent);
const states = (): (string | null)[] =>
  [...document.querySelectorAll(".carillon-state")].map((state) => state.getAttribute("title"));
const field = (): HTMLTextAreaElement => screen.getByRole("textbox");
const conversation = (): HTMLElement => document.querySelector(".carillon-conversation") as HTMLElement;
const say = (user: string, body: string, chatId = id): Promise<void> =>
  act(async () => void server.chats.say(chatId, user, body));

async function opens(name = "bob"): Promise<void> {
  await eventually(() => row(name));
  await userEvent.click(within(row(name)).getAllByRole("button")[0] as HTMLElement);
}

test("a message that only Redis has is marked as on its way until it is written", async () => {
  server.chats.accept = "fast";
  // Otherwise a ping writes it.
  server.chats.isRedisAway = true;
  show();
  await opens();
  await eventually(() => expect(device.state().wsStatus).toBe("connected"));
  await userEvent.type(field(), "Hi{Enter}");
  await eventually(() => expect(server.chats.log.length).toBe(1));
  await say("bob", "Hello");
  await eventually(() => expect(texts()).toEqual(["Hi", "Hello"]));
  expect(states()).toEqual(["Sending"]);
  const [bubble] = document.querySelectorAll("[data-message]");
  server.chats.isRedisAway = false;
  await act(async () => server.chats.drain());
  await eventually(() => expect(states()).toEqual(["Sent"]));
  expect(document.querySelector("[data-message]")).toBe(bubble);
});

describe("the list", () => {
  test("shows what is unread, the last message and who is online", async () => {
    const group = server.chats.between("carol", "alice", "group");
    Object.assign(server.chats.rows.get(group) ?? {}, { title: "Lunch" });
    server.chats.say(group, "carol", "Hungry?");
    server.chats.say(id, "bob", "Hi");
    server.chats.say(id, "bob", "there");
    server.presence.set("bob", true);
    show();
    await eventually(() => expect(rows()).toHaveLength(2));
    expect(row("bob").textContent).toContain("there");
    expect(row("bob").textContent).toContain("2 unread");
    expect(row("Lunch").textContent).toContain("carol: Hungry?");
    await eventually(() => within(row("bob")).getByText("Online"));
    await act(async () => server.presence.set("bob", false));
    within(row("bob")).getByText("Offline");
    // Nothing is known of a whole group.
    expect(row("Lunch").querySelector(".carillon-presence")).toBeNull();
  });

  test("says that it is empty, and only once that is known", async () => {
    server.chats.rows.clear();
    show();
    expect(screen.queryByText("No chats yet.")).toBeNull();
    await screen.findByText("No chats yet.");
  });

  test("answers requests", async () => {
    server.chats.rows.clear();
    for (const name of ["carol", "dave"]) {
      const asked = server.chats.between(name, "alice");
      Object.assign(server.chats.rows.get(asked) ?? {}, { status: "PENDING" });
    }
    show();
    await eventually(() => expect(rows()).toHaveLength(2));
    within(row("carol")).getByText("Request");
    await press("Accept: carol");
    await press("Decline: dave");
    await eventually(() => expect(screen.queryByText("Request")).toBeNull());
    expect([...server.chats.rows.values()].map(({ status }) => status)).toEqual(["ACCEPTED", "DECLINED"]);
  });

  test("keeps its rows in place under the pointer", async () => {
    const other = server.chats.between("carol", "alice");
    server.chats.say(other, "carol", "First");
    await new Promise((resolve) => setTimeout(resolve, 5));
    server.chats.say(id, "bob", "Second");
    show();
    await eventually(() => expect(rows()).toEqual(["bob", "carol"]));
    const list = document.querySelector(".carillon-chat-scroller") as HTMLElement;
    fireEvent.pointerEnter(list);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await say("carol", "Third", other);
    expect(rows()).toEqual(["bob", "carol"]);
    expect(row("carol").textContent).toContain("Third");
    fireEvent.pointerLeave(list);
    expect(rows()).toEqual(["carol", "bob"]);
  });

  test("moves by arrow keys from row to row", async () => {
    for (const name of ["carol", "dave"]) server.chats.between("alice", name);
    show();
    await eventually(() => expect(rows()).toHaveLength(3));
    const focused = (): string => document.activeElement?.querySelector(".carillon-chat-name")?.textContent ?? "";
    row(rows()[0] ?? "")
      .querySelector("button")
      ?.focus();
    await userEvent.keyboard("{ArrowDown}");
    expect(focused()).toBe(rows()[1]);
    await userEvent.keyboard("{End}");
    expect(focused()).toBe(rows()[2]);
    await userEvent.keyboard("{ArrowDown}");
    expect(focused()).toBe(rows()[2]);
    await userEvent.keyboard("{Home}");
    expect(focused()).toBe(rows()[0]);
  });

  test("shows nothing of a user to the next one", async () => {
    let sub = "alice";
    device = deviceOf(server, { getToken: () => tokenOf(sub) });
    server.chats.say(id, "bob", "Secret");
    show();
    await opens();
    await eventually(() => expect(texts()).toEqual(["Secret"]));
    sub = "erin";
    act(() => {
      device.client.close();
      device.client.connect();
    });
    await eventually(() => expect(device.state().userId).toBe("erin"));
    expect(screen.queryAllByText("Secret")).toEqual([]);
    expect(conversation()).toBeNull();
  });
});

describe("a conversation", () => {
  test("shows messages in order by day, with where the unread ones begin, and marks them as read", async () => {
    server.chats.say(id, "alice", "Old");
    server.chats.say(id, "bob", "New");
    const [old] = server.chats.rows.get(id)?.messages ?? [];
    Object.assign(old ?? {}, { createdAt: new Date(Date.now() - 86_400_000).toISOString() });
    show();
    await opens();
    await eventually(() => expect(texts()).toEqual(["Old", "New"]));
    expect(screen.getAllByRole("heading", { level: 3 }).map(({ textContent }) => textContent)).toEqual([
      "Yesterday",
      "Today",
    ]);
    const items = [...document.querySelectorAll(".carillon-message,.carillon-new")].map((one) => one.className);
    expect(items).toEqual(["carillon-message", "carillon-new", "carillon-message"]);
    await eventually(() => expect(server.chats.member(id, "alice").readSeq).toBe(2));
    expect(row("bob").textContent).not.toContain("unread");
    await say("bob", "Newer");
    expect(texts()).toEqual(["Old", "New", "Newer"]);
    await eventually(() => expect(server.chats.member(id, "alice").readSeq).toBe(3));
  });

  test("sends with Enter, begins a line with Shift and Enter, and does neither while a word is composed", async () => {
    show();
    await opens();
    expect(document.activeElement).toBe(field());
    await userEvent.keyboard("  {Enter}");
    expect(server.chats.bodies(id)).toEqual([]);
    await userEvent.keyboard("Hi{Shift>}{Enter}{/Shift}Bob");
    fireEvent.keyDown(field(), { key: "Enter", isComposing: true });
    expect(field().value).toBe("  Hi\nBob");
    await userEvent.keyboard("{Enter}");
    await eventually(() => expect(server.chats.bodies(id)).toEqual(["Hi\nBob"]));
    expect([field().value, document.activeElement]).toEqual(["", field()]);
    await eventually(() => expect(states()).toEqual(["Sent"]));
    await act(async () => void server.chats.received("bob", { action: "readChat", chatId: id, seq: 1 }));
    expect(states()).toEqual(["Read"]);
  });

  test("tells how many characters are left, and sends no more than there may be", async () => {
    show();
    await opens();
    fireEvent.change(field(), { target: { value: "😀".repeat(3_700) } });
    expect(within(conversation()).queryByText(/left|many/)).toBeNull();
    fireEvent.change(field(), { target: { value: "😀".repeat(3_999) } });
    within(conversation()).getByText("1 character left");
    fireEvent.change(field(), { target: { value: "😀".repeat(4_002) } });
    within(conversation()).getByText("2 characters too many");
    await userEvent.type(field(), "{Enter}");
    expect(server.chats.bodies(id)).toEqual([]);
    fireEvent.change(field(), { target: { value: `\u0007${"😀".repeat(4_000)}` } });
    await press("Send message");
    await eventually(() => expect(server.chats.bodies(id)).toEqual(["😀".repeat(4_000)]));
  });

  test("sends a refused message again, or discards it", async () => {
    let isRefused = true;
    server.fault = ({ method, path }) =>
      isRefused && method === "POST" && path.endsWith("/messages") ? refusal(403, "forbidden") : undefined;
    server.areSocketsRefused = true;
    show();
    await opens();
    await userEvent.type(field(), "One{Enter}Two{Enter}");
    await eventually(() => expect(screen.getAllByText("forbidden")).toHaveLength(2));
    await userEvent.click(screen.getAllByRole("button", { name: "Discard" })[0] as HTMLElement);
    expect(texts()).toEqual(["Two"]);
    isRefused = false;
    await press("Try again");
    await eventually(() => expect(server.chats.bodies(id)).toEqual(["Two"]));
    await eventually(() => expect(states()).toEqual(["Sent"]));
  });

  test("shows who is typing", async () => {
    show();
    await opens();
    await eventually(() => expect(device.state().transport).toBe("websocket"));
    await act(async () => void server.chats.received("bob", { action: "typing", chatId: id, on: true }));
    within(conversation()).getByText("bob is typing…");
    await say("bob", "Hi");
    expect(within(conversation()).queryByText("bob is typing…")).toBeNull();
  });

  test("keeps the draft of each chat", async () => {
    server.chats.between("alice", "carol");
    show();
    await opens();
    await userEvent.type(field(), "For Bob");
    await opens("carol");
    expect(field().value).toBe("");
    await opens("bob");
    expect(field().value).toBe("For Bob");
  });

  test("lets the creator of a request send three messages, and the other one answer", async () => {
    Object.assign(server.chats.rows.get(id) ?? {}, { status: "PENDING" });
    show();
    await opens();
    within(conversation()).getByText(/bob has not accepted yet. Until then/);
    await userEvent.type(field(), "1{Enter}2{Enter}3{Enter}");
    await within(conversation()).findByText(/You have sent three messages/);
    expect(screen.queryByRole("textbox")).toBeNull();
    cleanup();

    device.client.close();
    device = deviceOf(server, { sub: "bob" });
    show();
    await opens("alice");
    await within(conversation()).findByText("alice wants to chat with you.");
    expect(screen.queryByRole("textbox")).toBeNull();
    await userEvent.click(within(conversation()).getByRole("button", { name: "Decline" }));
    await within(conversation()).findByText("This chat was declined.");
    await userEvent.click(within(conversation()).getByRole("button", { name: "Accept" }));
    await within(conversation()).findByRole("textbox");
    await eventually(() => expect(texts()).toEqual(["1", "2", "3"]));
  });

  test("is deleted, restored, and found among the deleted ones", async () => {
    server.chats.say(id, "bob", "Hi");
    show();
    await opens();
    await eventually(() => expect(texts()).toEqual(["Hi"]));
    await press("Delete chat: bob");
    await within(conversation()).findByText("You deleted this chat.");
    expect([rows(), texts()]).toEqual([[], []]);
    await press("Restore");
    await eventually(() => expect(texts()).toEqual(["Hi"]));
    expect(rows()).toEqual(["bob"]);

    await press("Delete chat: bob");
    await within(conversation()).findByText("You deleted this chat.");
    await press("Deleted chats");
    await eventually(() => expect(document.activeElement?.matches("h2")).toBe(true));
    expect(document.activeElement?.textContent).toBe("Deleted chats");
    await userEvent.click(await screen.findByRole("button", { name: "Restore: bob" }));
    await eventually(() => expect(texts()).toEqual(["Hi"]));
    expect(rows()).toEqual(["bob"]);
  });

  test("shows a refused act until it is dismissed", async () => {
    server.fault = ({ method }) => (method === "DELETE" ? refusal(403, "forbidden") : undefined);
    show();
    await opens();
    await press("Delete chat: bob");
    const alerts = (): string =>
      screen
        .getAllByRole("alert")
        .map(({ textContent }) => textContent)
        .join("");
    await eventually(() => expect(alerts()).toContain("forbidden"));
    await press("Dismiss");
    expect(alerts()).toBe("");
  });

  test("says that a chat is gone after the user was removed", async () => {
    const group = server.chats.between("carol", "alice", "group");
    Object.assign(server.chats.rows.get(group) ?? {}, { title: "Lunch" });
    show();
    await opens("Lunch");
    const client = deviceOf(server, { sub: "carol" }).client;
    client.connect();
    const body = { userIds: ["alice"] };
    await act(async () => void (await client.request("POST", `/api/chats/${group}/members/remove`, { body })));
    client.close();
    await eventually(() => within(conversation()).getAllByText("This chat no longer exists."));
  });

  test("names senders in a group, and counts who has read", async () => {
    const group = server.chats.between("carol", "alice", "group");
    Object.assign(server.chats.rows.get(group) ?? {}, { title: "Lunch" });
    server.chats.rows.get(group)?.members.set("dave", { role: "member", readSeq: 0, clearedSeq: -1, hiddenSeq: -1 });
    server.chats.say(group, "carol", "Hungry?");
    server.chats.say(group, "alice", "Yes");
    show({ nameOf: (userId) => userId.toUpperCase() });
    await opens("Lunch");
    await eventually(() => expect(texts()).toEqual(["Hungry?", "Yes"]));
    within(conversation()).getByText("3 members");
    expect([...document.querySelectorAll(".carillon-sender")].map((one) => one.textContent)).toEqual(["CAROL"]);
    expect(states()).toEqual(["Sent"]);
    await act(async () => void server.chats.received("carol", { action: "readChat", chatId: group, seq: 2 }));
    expect(states()).toEqual(["Read by 1"]);
  });

  test("shows markup as text, and what was erased as erased", async () => {
    server.chats.say(id, "bob", "<img src=x onerror=alert(1)>");
    const erased = server.chats.say(id, "bob", "");
    Object.assign(erased, { senderId: null, erased: true });
    show();
    await opens();
    await eventually(() => expect(texts()).toEqual(["<img src=x onerror=alert(1)>", "This message was deleted."]));
    expect(document.querySelector("img")).toBeNull();
    expect(conversation().textContent).toContain("Deleted user");
  });

  test("shows that older messages could not be loaded, and tries again on demand", async () => {
    for (let n = 0; n < 60; n++) server.chats.say(id, "bob", `${n}`);
    show();
    await opens();
    await eventually(() => expect(texts().at(-1)).toBe("59"));
    server.fault = ({ path }) => (path.includes("before=") ? refusal(403, "forbidden") : undefined);
    await press("Show older");
    await within(conversation()).findByText("forbidden");
    server.fault = () => undefined;
    await press("Show older");
    await eventually(() => expect(texts()).toHaveLength(60));
    await press("Dismiss");
    expect(within(conversation()).queryByText("forbidden")).toBeNull();
  });

  test("loads older messages on demand", async () => {
    for (let n = 0; n < 60; n++) server.chats.say(id, n % 2 ? "alice" : "bob", `${n}`);
    show();
    await opens();
    await eventually(() => expect(texts().at(-1)).toBe("59"));
    // Without a layout everything is near the beginning, so scrolling loads the rest.
    fireEvent.scroll(screen.getByRole("region", { name: "Messages" }));
    await eventually(() => expect(texts()).toHaveLength(60));
    expect(within(conversation()).queryByRole("button", { name: "Show older" })).toBeNull();
  });
});

test("the application may decide which chat is open", async () => {
  const opened: (string | null)[] = [];
  const props = {
    onOpen: (chatId: string | null) => opened.push(chatId),
    slots: { header: <p>Head</p>, title: "Talk" },
  };
  const { rerender } = show({ ...props, openId: null });
  await opens();
  expect(opened).toEqual([id]);
  expect(conversation()).toBeNull();
  rerender(
    <Chats {...props} openId={id} slots={{ actions: ({ kind }) => <button type="button">Of {kind}</button> }} />,
  );
  await screen.findByRole("button", { name: "Of direct" });
});

test("arrivals are announced once: a message by its text, a burst by its count, and a request", async () => {
  server.chats.say(id, "bob", "Before");
  show();
  await eventually(() => expect(rows()).toEqual(["bob"]));
  await eventually(() => expect(device.state().transport).toBe("websocket"));
  const spoken = (): string =>
    [...document.querySelectorAll(".carillon-chats > .carillon-spoken")].map((one) => one.textContent).join("");
  expect(spoken()).toBe("");
  await say("bob", "It costs $& {more}");
  await eventually(() => expect(spoken()).toBe("bob: It costs $& {more}"));
  await say("bob", "a");
  await say("alice", "mine");
  await say("bob", "b");
  await eventually(() => expect(spoken()).toBe("2 new messages"));
  const { client } = deviceOf(server, { sub: "carol" });
  client.connect();
  const body = { kind: "direct", participantIds: ["alice"] };
  await act(async () => void (await client.request("POST", "/api/chats", { body })));
  client.close();
  await eventually(() => expect(spoken()).toBe("carol wants to chat with you."));
});

test("a muted chat is not announced, and another one is", async () => {
  const muted = server.chats.between("alice", "carol");
  server.preferences = { types: {}, quietHours: null, mutedChats: { [muted]: null } };
  show();
  await eventually(() => row("carol"));
  await eventually(() => expect(server.callsTo("/api/preferences").length).toBeGreaterThan(0));
  await act(() => preferencesOf(device.client).refresh());
  await say("carol", "Psst", muted);
  await say("bob", "Hello");
  await eventually(() =>
    expect(document.querySelector(".carillon-chats > .carillon-spoken")?.textContent).toBe("bob: Hello"),
  );
});

test("what a later page of the list brings is not announced", async () => {
  server.chats.maxPage = 1;
  server.chats.say(id, "bob", "Old");
  await new Promise((resolve) => setTimeout(resolve, 5));
  server.chats.say(server.chats.between("alice", "carol"), "carol", "Newer");
  show();
  await eventually(() => expect(rows()).toEqual(["carol"]));
  await press("Show older");
  await eventually(() => expect(rows()).toEqual(["carol", "bob"]));
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(document.querySelector(".carillon-chats > .carillon-spoken")?.textContent).toBe("");
});

test("without a connection an empty list does not claim that there are no chats", async () => {
  server.areSocketsRefused = true;
  server.fault = () => Promise.reject(new TypeError("network"));
  device = deviceOf(server, { userId: "alice" });
  show();
  await screen.findByText("You are offline.");
  expect(screen.queryByText("No chats yet.")).toBeNull();
});

test.each([
  [de, "Gelöschte Chats"],
  [es, "Chats eliminados"],
  [{ deletedChats: "Poubelle" }, "Poubelle"],
])("speaks the language of its labels", async (labels, name) => {
  show({ labels });
  await screen.findByRole("button", { name });
});

test("renders on a server", () => {
  const html = renderToString(page({ children: <Chats /> }));
  expect(html).toContain("Loading…");
  expect(html).toContain("Chats</h2>");
});
