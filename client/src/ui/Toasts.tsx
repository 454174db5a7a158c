// Arrivals, each for a few seconds, in a corner of the page.

import { type ReactElement, useEffect, useRef, useState } from "react";
import { useCarillon } from "../hooks.js";
import { useClient } from "../provider.js";
import type { Notification } from "../types.js";
import { Announcer } from "./Announcer.js";
import { named, shown } from "./format.js";
import { CloseIcon } from "./icons.js";
import { complete } from "./labels.js";
import { linkOf } from "./links.js";
import { TextLink } from "./Row.js";
import { useStyles } from "./styles.js";
import type { ToastsProps } from "./types.js";
import { useArrivals } from "./useArrivals.js";

/** More would cover the page. */
const MAX_SHOWN = 3;
const SHOW_MS = 6_000;

interface Toast {
  readonly notification: Notification;
  /** Its place in the corner, from the edge. It never changes, so no toast moves under the pointer. */
  readonly slot: number;
}

/** Puts a toast into a free place, or into that of the oldest, unless all places are `held`. */
function add(toasts: readonly Toast[], notification: Notification, held: boolean): readonly Toast[] {
  if (held && toasts.length >= MAX_SHOWN) return toasts;
  // What arrives anew, after a snooze, has one toast.
  const kept = toasts.filter((one) => one.notification.id !== notification.id).slice(-(MAX_SHOWN - 1));
  const taken = new Set(kept.map(({ slot }) => slot));
  let slot = 0;
  while (taken.has(slot)) slot++;
  return [...kept, { notification, slot }];
}

/** Shows notifications as they arrive, in every tab that is visible. */
export function Toasts(props: ToastsProps): ReactElement {
  useStyles();
  const { showMs = SHOW_MS, filter, onOpen, linkTarget, renderToast } = props;
  const labels = complete(props.labels);
  const client = useClient();
  const userId = useCarillon((state) => state.userId);
  const notifications = useCarillon((state) => state.notifications);
  const [toasts, setToasts] = useState<readonly Toast[]>([]);
  const [held, setHeld] = useState(false);
  const region = useRef<HTMLElement>(null);
  useArrivals((notification) => {
    // An open inbox shows it already.
    if (
      document.visibilityState === "hidden" ||
      document.querySelector(".carillon-popover") ||
      filter?.(notification) === false
    )
      return;
    setToasts((last) => add(last, notification, held));
  });
  const remove = (id: string): void => setToasts((last) => last.filter(({ notification }) => notification.id !== id));
  const dismiss = (id: string): void => {
    // The focus goes on to another toast. An element that is removed gets no event that it is left.
    const others = region.current?.querySelectorAll<HTMLElement>(`[data-toast] [data-act="dismiss"]`) ?? [];
    const next = [...others].find((button) => button.closest<HTMLElement>("[data-toast]")?.dataset["toast"] !== id);
    next?.focus({ preventScroll: true });
    setHeld(next !== undefined || !!region.current?.matches(":hover"));
    remove(id);
  };

  // Nothing of a user remains for the next one.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the user is what changes
  useEffect(() => setToasts([]), [userId]);
  // What was read, or has left the inbox, needs no toast any more.
  const isUnread = (id: string): boolean => notifications.find((one) => one.id === id)?.readAt === null;
  const visible = toasts.filter(({ notification: { id } }) => held || isUnread(id));

  return (
    <section
      ref={region}
      className="carillon-toasts"
      aria-label={labels.title}
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={({ currentTarget, relatedTarget }) => setHeld(currentTarget.contains(relatedTarget))}
      onKeyDown={(event) => {
        if (event.key === "Escape") setToasts([]);
      }}
    >
      {visible.map(({ notification, slot }) => {
        const { id, title, body, actionUrl, priority } = notification;
        const link = linkOf(actionUrl);
        return (
          <div
            key={id}
            className="carillon-toast"
            data-toast={id}
            data-priority={priority}
            style={{ gridRow: MAX_SHOWN - slot }}
          >
            {!held && <Timer ms={showMs} onEnd={() => remove(id)} />}
            {renderToast?.(notification, link) ?? (
              <div className="carillon-main">
                <p className="carillon-row-title">
                  {link ? (
                    <TextLink
                      text={title}
                      link={link}
                      target={linkTarget}
                      labels={labels}
                      onClick={(event) => {
                        void client.markAsRead(id);
                        onOpen?.(notification, event);
                        dismiss(id);
                      }}
                    />
                  ) : (
                    <bdi>{shown(title)}</bdi>
                  )}
                </p>
                {body && (
                  <p className="carillon-body">
                    <bdi>{shown(body)}</bdi>
                  </p>
                )}
              </div>
            )}
            <button
              type="button"
              className="carillon-button"
              data-act="dismiss"
              aria-label={`${labels.dismiss}: ${named(title)}`}
              title={labels.dismiss}
              onClick={() => dismiss(id)}
            >
              <CloseIcon />
            </button>
          </div>
        );
      })}
      <Announcer labels={labels} />
    </section>
  );
}

/** Calls `onEnd` once, after `ms`. */
function Timer({ ms, onEnd }: { ms: number; onEnd: () => void }): null {
  const latest = useRef(onEnd);
  useEffect(() => {
    latest.current = onEnd;
  });
  useEffect(() => {
    const timer = setTimeout(() => latest.current(), ms);
    return () => clearTimeout(timer);
  }, [ms]);
  return null;
}
