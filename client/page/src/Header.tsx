// The bar at the top: the state of the connection, the user, and the bell.

import { useCarillon } from "@carillon/client/react";
import type { ReactElement } from "react";
import { STATUS, TRANSPORT } from "./format.js";
import { PageBell, type SidebarState } from "./Inbox.js";
import { BellIcon } from "./icons.js";

interface HeaderProps {
  user: string;
  sidebar: SidebarState | null;
}

export function Header({ user, sidebar }: HeaderProps): ReactElement {
  const status = STATUS[useCarillon((state) => state.wsStatus)];
  const transport = useCarillon((state) => state.transport);
  return (
    <header className="top">
      <div className="brand">
        <span className="brand-mark">
          <BellIcon />
        </span>
        <h1>
          Carillon <span>test page</span>
        </h1>
      </div>
      <p className="pill" data-testid="status" data-tone={status.tone}>
        <span className={`dot ${status.tone}`} aria-hidden="true" />
        <span>{status.name}</span>
        <span className="pill-more">{transport ? TRANSPORT[transport] : "—"}</span>
      </p>
      <p className="user">
        <span className="avatar" aria-hidden="true">
          {[...user][0]?.toUpperCase()}
        </span>
        <span className="visually-hidden">Viewing as </span>
        <span className="user-name">{user}</span>
      </p>
      <PageBell user={user} sidebar={sidebar} />
    </header>
  );
}
