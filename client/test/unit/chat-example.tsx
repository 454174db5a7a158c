import { useChat, useChats } from "../../src/react.js";
import { type ReactElement, useState } from "react";

export function Chats(): ReactElement {
  const { chats, unreadCount, create } = useChats();
  const [open, setOpen] = useState<string>();
  const ask = async () => setOpen((await create({ kind: "direct", participantIds: ["bob"] })).id);
  const rows = chats.map(({ id, lastMessage, unread }) => (
    <li key={id}><button onClick={() => setOpen(id)}>{lastMessage?.body ?? "New chat"} ({unread})</button></li>
  ));
  return <main><h1>{unreadCount} unread</h1><button onClick={ask}>Ask bob</button><ul>{rows}</ul>{open && <Chat id={open} />}</main>;
}

function Chat({ id }: { id: string }): ReactElement {
  const { messages, typing, draft, setDraft, send, retry, markAsRead } = useChat(id);
  const rows = messages.map(({ key, body, state, senderId, clientId }) => (
    <p key={key}>{senderId}: {body} {state === "failed" && <button onClick={() => retry(clientId ?? "")}>Send again</button>}</p>
  ));
  return (
    <form onSubmit={(event) => { event.preventDefault(); send(draft); }} onFocus={() => markAsRead()}>
      {rows}
      {typing.length > 0 && <p>{typing.join(", ")} typing …</p>}
      <input aria-label="Message" value={draft} onChange={({ target }) => setDraft(target.value)} />
    </form>
  );
}
