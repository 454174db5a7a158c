// @vitest-environment happy-dom

import { readFileSync } from "node:fs";
import { act, cleanup, configure, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { type ReactElement, StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { useChat, useChats, usePresence } from "../../src/chat-react.js";
import { CarillonProvider } from "../../src/react.js";
import { type Device, deviceOf } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";
import { Chats } from "./chat-example.js";

const timeout = 30_000;
configure({ asyncUtilTimeout: timeout });
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout });

let server: FakeServer;
let device: Device;
let id: string;

beforeEach(() => {
  server = new FakeServer();
  device = deviceOf(server);
  id = server.chats.between("alice", "bob");
});

afterEach(() => {
  cleanup();
  device.client.close();
});

function List(): ReactElement {
  const { chats, unreadCount, loading, create } = useChats();
  return (
    <nav>
      <h1>{loading ? "loading" : `${unreadCount} unread`}</h1>
      <button type="button" onClick={() => void create({ kind: "direct", participantIds: ["carol"] })}>
        Ask carol
      </button>
      {chats.map((chat) => (
        <p key={chat.id}>
          {chat.id}: {chat.lastMessage?.body ?? chat.status}
        </p>
      ))}
    </nav>
  );
}

function Thread({ of }: { of: string }): ReactElement {
  const { messages, draft, typing, unread, setDraft, send, markAsRead } = useChat(of);
  return (
    <main>
      <h2>
        {unread} unread{typing.map((userId) => `, ${userId} is typing`)}
      </h2>
      <ol>
        {messages.map(({ key, body, state }) => (
          <li key={key}>{`${body} (${state})`}</li>
        ))}
      </ol>
      <input value={draft} onChange={({ target }) => setDraft(target.value)} />
      <button type="button" onClick={() => send(draft)}>
        Send
      </button>
      <button type="button" onClick={() => void markAsRead()}>
        Read
      </button>
    </main>
  );
}

const within = (children: ReactElement): ReactElement => (
  <StrictMode>
    <CarillonProvider client={device.client}>{children}</CarillonProvider>
  </StrictMode>
);

const messages = (): (string | null)[] => screen.queryAllByRole("listitem").map(({ textContent }) => textContent);

test("a list and a chat share what they know, in strict mode", async () => {
  const user = userEvent.setup();
  server.chats.say(id, "bob", "Hi");
  render(
    within(
      <>
        <List />
        <Thread of={id} />
      </>,
    ),
  );
  await eventually(() => expect(messages()).toEqual(["Hi (sent)"]));
  expect(screen.getByRole("heading", { level: 1 }).textContent).toBe("1 unread");
  await user.click(screen.getByText("Read"));
  expect(screen.getByRole("heading", { level: 1 }).textContent).toBe("0 unread");

  await user.type(screen.getByRole("textbox"), "Hi Bob");
  await user.click(screen.getByText("Send"));
  expect((screen.getByRole("textbox") as HTMLInputElement).value).toBe("");
  await eventually(() => expect(messages()).toEqual(["Hi (sent)", "Hi Bob (sent)"]));
  await eventually(() => expect(screen.getByText(`${id}: Hi Bob`)).toBeTruthy());
  expect(server.chats.bodies(id)).toEqual(["Hi", "Hi Bob"]);

  await user.click(screen.getByText("Ask carol"));
  await eventually(() => expect(screen.getByText("c2: PENDING")).toBeTruthy());
  // The effects that strict mode repeats make nothing twice.
  expect(server.callsTo(`/api/chats/${id}/messages`).length).toBe(1);
});

test("the row of a message that is sent stays the same element", async () => {
  const user = userEvent.setup();
  render(within(<Thread of={id} />));
  await eventually(() => expect(device.state().wsStatus).toBe("connected"));
  await user.type(screen.getByRole("textbox"), "Hi");
  server.areSocketsRefused = true;
  await user.click(screen.getByText("Send"));
  const row = screen.getByRole("listitem");
  await eventually(() => expect(messages()).toEqual(["Hi (sent)"]));
  expect(screen.getByRole("listitem")).toBe(row);
});

test("another chat in the same component shows only its own messages", async () => {
  const other = server.chats.between("alice", "carol");
  server.chats.say(id, "bob", "from bob");
  server.chats.say(other, "carol", "from carol");
  const { rerender } = render(within(<Thread of={id} />));
  await eventually(() => expect(messages()).toEqual(["from bob (sent)"]));
  rerender(within(<Thread of={other} />));
  expect(messages()).toEqual([]);
  await eventually(() => expect(messages()).toEqual(["from carol (sent)"]));
  await act(async () => server.chats.say(id, "bob", "again"));
  expect(messages()).toEqual(["from carol (sent)"]);
});

function Dots({ of }: { of: string[] }): ReactElement {
  const presence = usePresence(of);
  const words = of.map((userId) => `${userId} ${{ true: "on", false: "off" }[String(presence.get(userId)?.online)]}`);
  return <p data-testid="dots">{words.join(", ")}</p>;
}

test("components share the presence of users, in strict mode and with a new array each time", async () => {
  server.chats.between("alice", "carol");
  server.presence.set("bob", true);
  const dots = (): (string | null)[] => screen.getAllByTestId("dots").map(({ textContent }) => textContent);
  const { rerender } = render(within(<Dots of={["bob"]} />));
  expect(dots()).toEqual(["bob undefined"]);
  await eventually(() => expect(dots()).toEqual(["bob on"]));
  rerender(
    within(
      <>
        <Dots of={["bob", "carol"]} />
        <Dots of={["carol", "dave"]} />
      </>,
    ),
  );
  await eventually(() => expect(dots()).toEqual(["bob on, carol off", "carol off, dave undefined"]));
  expect(server.presence.asked).toEqual([["bob"], ["carol", "dave"]]);
  await act(async () => server.presence.set("bob", false));
  expect(dots()[0]).toBe("bob off, carol off");
});

test("a server renders the initial state", () => {
  const markup = renderToString(
    within(
      <>
        <List />
        <Thread of={id} />
        <Dots of={["bob"]} />
      </>,
    ),
  );
  expect(markup).toContain("<h1>loading</h1>");
  expect(server.calls).toEqual([]);
});

test("the example in the README works, word for word", async () => {
  const url = `file://${import.meta.filename}`;
  const read = (path: string): string => readFileSync(new URL(path, url), "utf8");
  const example = read("chat-example.tsx").replace("../../src/react.js", "@carillon/client/react");
  expect(read("../../README.md")).toContain(`\`\`\`tsx\n${example}\`\`\``);

  const user = userEvent.setup();
  render(within(<Chats />));
  await user.click(await screen.findByText("Ask bob"));
  await user.type(await screen.findByRole("textbox"), "Hi{Enter}");
  await eventually(() => expect(screen.getByText("alice: Hi")).toBeTruthy());
  await eventually(() => expect(server.chats.bodies(id)).toEqual(["Hi"]));
  await act(async () => server.chats.say(id, "bob", "Hi Alice"));
  await screen.findByText("bob: Hi Alice");
  expect(screen.getByRole("heading").textContent).toBe("1 unread");
  await act(async () => screen.getByRole("textbox").blur());
  await user.click(screen.getByRole("textbox"));
  await eventually(() => expect(screen.getByRole("heading").textContent).toBe("0 unread"));
});
