"use client";

import { createClient } from "@carillon/client";
import { CarillonProvider, useNotifications } from "@carillon/client/react";
import type { ReactNode } from "react";

const getToken = async () => (await fetch("/token")).text();
// It connects in a browser only, when a provider is mounted.
const client = createClient({ baseUrl: "", getToken });

export function Carillon({ children }: { children: ReactNode }) {
  return <CarillonProvider client={client}>{children}</CarillonProvider>;
}

export function Inbox() {
  const { notifications, unreadCount, wsStatus, markAsRead } = useNotifications();
  const rows = notifications.map(({ id, title, readAt }) => (
    <li key={id}><button onClick={() => markAsRead(id)}>{readAt ? title : <b>New: {title}</b>}</button></li>
  ));
  return <section><h2>{unreadCount} unread, {wsStatus}</h2><ul>{rows}</ul></section>;
}
