import { createClient } from "@carillon/client";
import { CarillonProvider, useNotifications } from "@carillon/client/react";
import { createRoot } from "react-dom/client";

// Your back end signs tokens; the local gateway does so for trying things out.
const getToken = async () => (await (await fetch("/_gateway/token?sub=alice")).json()).token;
const client = createClient({ baseUrl: "", getToken });

function Inbox() {
  const { notifications, unreadCount, wsStatus, markAsRead } = useNotifications();
  const rows = notifications.map(({ id, title, readAt }) => (
    <li key={id} onClick={() => markAsRead(id)}>{readAt ? title : <b>{title}</b>}</li>
  ));
  return <main><h1>{unreadCount} unread, {wsStatus}</h1><ul>{rows}</ul></main>;
}

createRoot(document.getElementById("root")!).render(<CarillonProvider client={client}><Inbox /></CarillonProvider>);
