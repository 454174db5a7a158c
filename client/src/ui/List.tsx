// The scrollable list: groups by day, rows that stay in place, and a button for what waits.

import {
  type ReactElement,
  type ReactNode,
  type RefObject,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { groupByDay, type NotificationGroup } from "../grouping.js";
import type { Notification } from "../types.js";
import { formatsOf } from "./format.js";
import { counted } from "./labels.js";
import { Row, type RowSetup } from "./Row.js";
import { useSlide } from "./slide.js";
import { useHeld } from "./useHeld.js";
import { useKeptFocus } from "./useKeptFocus.js";
import { useToday } from "./useToday.js";
import { useWindowed } from "./useWindowed.js";

/** The distance from the end at which the next page is loaded. */
const AHEAD_PX = 600;

interface ListProps {
  /** The id of the panel. */
  readonly id: string;
  readonly labelledBy: string | undefined;
  readonly items: readonly Notification[];
  /** All notifications, in whatever tab. */
  readonly all: readonly Notification[];
  readonly hasMore: boolean;
  readonly busy: boolean;
  readonly onMore: () => Promise<void>;
  readonly setup: RowSetup;
  /** Whether the focus was in the list before this one. */
  readonly hadFocus: RefObject<boolean>;
  /** What to show if there is no row. */
  readonly children: ReactNode;
}

export function List(props: ListProps): ReactElement {
  const { id, labelledBy, items, all, hasMore, busy, onMore, setup, hadFocus, children } = props;
  const { labels } = setup;
  const scroller = useRef<HTMLDivElement>(null);
  const [pointer, setPointer] = useState(false);
  const [focus, setFocus] = useState(false);
  const [scrolled, setScrolled] = useState(false);
  const { rows, gone, waiting, release } = useHeld(items, all, { pointer, reading: focus || scrolled });
  const keptFocus = useKeptFocus(scroller, rows, gone, hadFocus);
  const groups = useGroups(rows);
  const windowed = useWindowed(scroller, groups, rows.length);
  const now = useToday();
  useSlide(scroller, rows);

  const failed = useRef(false);
  const more = useCallback(() => {
    failed.current = false;
    onMore().catch(() => {
      // The button stays for another attempt. Scrolling on does not repeat what has just failed.
      failed.current = true;
    });
  }, [onMore]);
  const onScroll = (): void => {
    const element = scroller.current;
    if (!element) return;
    setScrolled(element.scrollTop > 0);
    windowed.onScroll();
    const leftPx = element.scrollHeight - element.clientHeight - element.scrollTop;
    if (hasMore && !busy && !failed.current && leftPx < AHEAD_PX) more();
  };
  const showWaiting = (): void => {
    release();
    // The button disappears, and with it the focus.
    scroller.current?.focus({ preventScroll: true });
    scroller.current?.scrollTo({ top: 0 });
  };

  return (
    <div className="carillon-list">
      {/* biome-ignore lint/a11y/noStaticElementInteractions: it is a tab panel, or scrollable content without a role */}
      <div
        id={id}
        ref={scroller}
        className="carillon-scroller"
        {...(labelledBy && { role: "tabpanel", "aria-labelledby": labelledBy })}
        tabIndex={-1}
        onScroll={onScroll}
        onPointerEnter={() => setPointer(true)}
        onPointerLeave={() => setPointer(false)}
        onFocus={(event) => {
          setFocus(event.target !== event.currentTarget);
          keptFocus.onFocus(event);
        }}
        onBlur={(event) => {
          // First: the rendering that the state causes must not take the focus back.
          keptFocus.onBlur(event);
          if (!event.currentTarget.contains(event.relatedTarget)) setFocus(false);
        }}
        onKeyDown={keptFocus.onKeyDown}
      >
        {rows.length === 0 && children}
        <Gap px={windowed.abovePx} as="div" />
        {windowed.parts.map(({ group, range, abovePx, belowPx }) => (
          <section
            key={group.key}
            className="carillon-day"
            data-slide={group.key}
            aria-labelledby={`${id}-${group.key}`}
          >
            <h3 id={`${id}-${group.key}`}>{formatsOf(labels.locale).day(group.date, now)}</h3>
            <ul aria-labelledby={`${id}-${group.key}`}>
              <Gap px={abovePx} as="li" />
              {group.items.slice(range.from, range.to).map((notification, n) => (
                <Row
                  key={notification.id}
                  notification={notification}
                  gone={gone.has(notification.id)}
                  position={range.from + n + 1}
                  size={group.items.length}
                  setup={setup}
                />
              ))}
              <Gap px={belowPx} as="li" />
            </ul>
          </section>
        ))}
        <Gap px={windowed.belowPx} as="div" />
        {hasMore && all.length > 0 && (
          <button
            type="button"
            className="carillon-button carillon-more"
            aria-disabled={busy}
            onClick={busy ? undefined : more}
          >
            {busy ? labels.loading : labels.older}
          </button>
        )}
      </div>
      {waiting > 0 && (
        <button type="button" className="carillon-button carillon-waiting" onClick={showWaiting}>
          {counted(labels, labels.waiting, waiting)}
        </button>
      )}
    </div>
  );
}

/** Stands for rows that are not rendered. */
function Gap({ px, as: Element }: { px: number; as: "li" | "div" }): ReactNode {
  return px > 0 && <Element aria-hidden="true" style={{ height: px }} />;
}

/** The rows by day. An unchanged group keeps its identity. */
function useGroups(rows: readonly Notification[]): readonly NotificationGroup[] {
  const previous = useRef<readonly NotificationGroup[]>([]);
  const groups = useMemo(() => groupByDay(rows, previous.current), [rows]);
  useEffect(() => {
    previous.current = groups;
  }, [groups]);
  return groups;
}
