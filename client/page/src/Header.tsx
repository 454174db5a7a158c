// The bar at the top: the state of the connection, the user, and the bell.

import { useCarillon, useClient } from "@carillon/client/react";
import { type ReactElement, useEffect, useState } from "react";
import { STATUS, TRANSPORT } from "./format.js";
import { BellIcon } from "./icons.js";

interface HeaderProps {
  user: string;
  inboxOpen: boolean;
  onBell: () => void;
}

export function Header({ user, inboxOpen, onBell }: HeaderProps): ReactElement {
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
      <Bell open={inboxOpen} onClick={onBell} />
    </header>
  );
}

function Bell({ open, onClick }: { open: boolean; onClick: () => void }): ReactElement {
  const unread = useCarillon((state) => state.unreadCount);
  const rings = useRingCount();
  return (
    <button
      type="button"
      id="bell"
      className="bell"
      aria-expanded={open}
      aria-controls="inbox"
      aria-label={unread === 0 ? "Notifications, none unread" : `Notifications, ${unread} unread`}
      onClick={onClick}
    >
      {/* A new key makes a new element, which restarts the animation. */}
      <span key={rings} className={rings > 0 ? "bell-body rings" : "bell-body"}>
        <BellIcon />
      </span>
      {unread > 0 && (
        <span className="badge" aria-hidden="true">
          {unread > 99 ? "99+" : unread}
        </span>
      )}
    </button>
  );
}

// The number of arrivals since the page was opened.
function useRingCount(): number {
  const client = useClient();
  const [rings, setRings] = useState(0);
  useEffect(() => client.onEvent((event) => event.type === "notification" && setRings((last) => last + 1)), [client]);
  return rings;
}
