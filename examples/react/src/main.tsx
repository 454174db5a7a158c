import { createClient } from "@carillon/client";
import { CarillonProvider, useNotifications } from "@carillon/client/react";
import { Bell } from "@carillon/client/ui";
import { createRoot } from "react-dom/client";

// Your back end signs tokens; the local gateway does so for trying things out.
const getToken = async () => (await (await fetch("/_gateway/token?sub=alice")).json()).token;
// With `userId`, the inbox that was saved on this device shows before there is a token, so also without a network.
const client = createClient({ baseUrl: "", getToken, userId: "alice" });

// A list of your own, from the hooks. `<Bell />` is ready-made, and shows the same inbox.
function List() {
  const { notifications, unreadCount, wsStatus, markAsRead } = useNotifications();
  const rows = notifications.map(({ id, title, readAt }) => (
    <li key={id}><button onClick={() => markAsRead(id)}>{readAt ? title : <b>New: {title}</b>}</button></li>
  ));
  return <main><h1>{unreadCount} unread, {wsStatus}</h1><ul>{rows}</ul></main>;
}

createRoot(document.getElementById("root")!).render(
  <CarillonProvider client={client}>
    <Bell align="start" />
    <List />
  </CarillonProvider>,
);
