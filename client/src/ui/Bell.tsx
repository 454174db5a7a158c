// The bell: how many are unread, and the inbox on top of the page.

import { type KeyboardEvent, type ReactElement, useEffect, useId, useLayoutEffect, useRef, useState } from "react";
import { useCarillon } from "../hooks.js";
import { Announcer } from "./Announcer.js";
import { Panel } from "./Inbox.js";
import { BellIcon } from "./icons.js";
import { complete, counted } from "./labels.js";
import { place } from "./place.js";
import { useStyles } from "./styles.js";
import type { BellButtonProps, BellProps } from "./types.js";
import { useArrivals } from "./useArrivals.js";

const MAX_COUNT = 99;

/** A button with the number of unread notifications, for an inbox of one's own place. */
export function BellButton(props: BellButtonProps): ReactElement {
  useStyles();
  const labels = complete(props.labels);
  const unread = useCarillon((state) => state.unreadCount);
  const [rings, setRings] = useState(0);
  useArrivals(() => setRings((last) => last + 1));
  return (
    <button
      type="button"
      id={props.id}
      className={props.className ? `carillon-bell ${props.className}` : "carillon-bell"}
      aria-haspopup={props.popup}
      aria-expanded={props.expanded}
      aria-controls={props.controls}
      aria-label={unread > 0 ? counted(labels, labels.bellUnread, unread) : labels.bellNoneUnread}
      onClick={props.onClick}
    >
      {/* A new key makes a new element, which restarts the animation. */}
      <span key={rings} className="carillon-clapper" data-rings={rings > 0 || undefined}>
        {props.icon ?? <BellIcon />}
      </span>
      {unread > 0 && (
        // The style sheet writes it. As text, "99+" would contradict the exact count in the button's name.
        <span className="carillon-badge" data-count={unread > MAX_COUNT ? `${MAX_COUNT}+` : unread} />
      )}
    </button>
  );
}

/** A bell that opens the inbox. */
export function Bell({ id, className, icon, align = "end", ...options }: BellProps): ReactElement {
  const panelId = useId();
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLSpanElement>(null);
  const panel = useRef<HTMLElement>(null);

  useLayoutEffect(() => {
    const element = panel.current;
    const bell = root.current?.querySelector("button");
    if (!open || !element || !bell) return;
    const update = (): void => place(element, bell, align);
    // In the top layer no ancestor can clip or cover it.
    element.showPopover?.();
    update();
    element.focus({ preventScroll: true });
    addEventListener("resize", update);
    addEventListener("scroll", update, true);
    return () => {
      removeEventListener("resize", update);
      removeEventListener("scroll", update, true);
    };
  }, [open, align]);
  useEffect(() => {
    if (!open) return;
    const onPointerDown = (event: PointerEvent): void => {
      if (root.current && !event.composedPath().includes(root.current)) setOpen(false);
    };
    document.addEventListener("pointerdown", onPointerDown);
    return () => document.removeEventListener("pointerdown", onPointerDown);
  }, [open]);

  const close = (): void => {
    setOpen(false);
    root.current?.querySelector("button")?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || !open) return;
    event.stopPropagation();
    close();
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: only listens for what its button and its panel let through
    <span
      ref={root}
      className="carillon-anchor"
      onKeyDown={onKeyDown}
      onBlur={({ currentTarget, relatedTarget }) => {
        // Tab leaves the panel, which would cover the element that gets the focus.
        if (relatedTarget && !currentTarget.contains(relatedTarget)) setOpen(false);
      }}
    >
      <BellButton
        labels={options.labels}
        icon={icon}
        expanded={open}
        controls={panelId}
        popup="dialog"
        id={id}
        className={className}
        onClick={() => setOpen(!open)}
      />
      {open ? (
        <Panel
          {...options}
          onClose={close}
          root={{
            ref: panel,
            id: panelId,
            role: "dialog",
            tabIndex: -1,
            className: "carillon-inbox carillon-popover",
            popover: "manual",
          }}
        />
      ) : (
        <Announcer labels={complete(options.labels)} />
      )}
    </span>
  );
}
