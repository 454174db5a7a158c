// The list of a panel: rows by day, which stay in place while they are in use.

import { groupByDay, type NotificationGroup } from "../grouping.js";
import type { Notification } from "../types.js";
import { formatsOf } from "../ui/format.js";
import { hold } from "../ui/held.js";
import { counted } from "../ui/labels.js";
import { arrange, button, focusedIn, h, set, setText } from "./dom.js";
import { createRow, type Row, type RowHost } from "./row.js";

export interface ListState {
  readonly userId: string | null;
  readonly notifications: readonly Notification[];
  readonly hasMore: boolean;
  readonly isBusy: boolean;
}

export interface List {
  readonly element: HTMLElement;
  /** `instead` stands for rows where there are none. */
  update(state: ListState, instead: Element): void;
}

interface Day {
  readonly element: HTMLElement;
  readonly heading: HTMLElement;
  readonly rows: HTMLElement;
}

export function createList(host: RowHost & { loadMore(): void }): List {
  const rows = new Map<string, Row>();
  const days = new Map<string, Day>();
  let groups: readonly NotificationGroup[] = [];
  let shown: readonly Notification[] = [];
  let latest: ListState = { userId: null, notifications: [], hasMore: false, isBusy: false };
  let instead: Element = h("div");
  let hasPointer = false;
  let isScrolled = false;

  const more = button({ class: "carillon-button carillon-more" }, () => latest.isBusy || host.loadMore());
  const scroller = h("div", { class: "carillon-scroller", tabindex: -1 });
  const waiting = button({ class: "carillon-button carillon-waiting" }, () => {
    shown = [];
    render();
    // The button disappears, and with it the focus.
    scroller.focus({ preventScroll: true });
    scroller.scrollTo({ top: 0 });
  });
  const element = h("div", { class: "carillon-list" }, scroller);

  const listen = (type: string, act: () => void): void => scroller.addEventListener(type, act);
  const point = (has: boolean) => () => {
    hasPointer = has;
    render();
  };
  listen("pointerenter", point(true));
  listen("pointerleave", point(false));
  listen("scroll", () => {
    if (isScrolled === scroller.scrollTop > 0) return;
    isScrolled = !isScrolled;
    render();
  });
  listen("focusin", () => render());
  // The next element has the focus only afterwards.
  listen("focusout", () => queueMicrotask(render));

  function dayOf(group: NotificationGroup, now: Date): Day {
    let day = days.get(group.key);
    if (!day) {
      const [heading, list] = [h("h3"), h("ul")];
      day = { element: h("section", { class: "carillon-day" }, heading, list), heading, rows: list };
      days.set(group.key, day);
    }
    const name = formatsOf(host.labels().locale).day(group.date, now);
    setText(day.heading, name);
    set(day.rows, { "aria-label": name });
    return day;
  }

  function rowOf(notification: Notification, isGone: boolean): HTMLElement {
    let row = rows.get(notification.id);
    if (!row) {
      row = createRow(notification, host);
      rows.set(notification.id, row);
    }
    row.update(notification, isGone);
    return row.element;
  }

  /** When the row with the focus disappears, its neighbour gets it, so that a keyboard can go on. */
  function keepFocus(change: () => void): void {
    const focused = focusedIn(scroller);
    const all = [...scroller.querySelectorAll("li")];
    const at = all.findIndex((row) => row.contains(focused));
    change();
    if (!focused || focusedIn(scroller)) return;
    const next = [...all.slice(at), ...all.slice(0, Math.max(at, 0)).reverse()].find((row) => row.isConnected);
    const act = focused.getAttribute("data-act");
    (next?.querySelector<HTMLElement>(`[data-act="${act}"]`) ?? next?.querySelector("button") ?? scroller).focus();
  }

  function render(): void {
    const { notifications, hasMore, isBusy } = latest;
    const labels = host.labels();
    const reading = scroller.scrollTop > 0 || focusedIn(scroller) !== null;
    const held = hold(shown, notifications, notifications, { pointer: hasPointer, reading });
    shown = held.rows;
    groups = groupByDay(shown, groups);
    const now = new Date();
    keepFocus(() => {
      const parts: Element[] = groups.map((group) => {
        const day = dayOf(group, now);
        arrange(
          day.rows,
          group.items.map((item) => rowOf(item, held.gone.has(item.id))),
        );
        return day.element;
      });
      if (shown.length === 0) parts.push(instead);
      else if (hasMore) parts.push(more);
      arrange(scroller, parts);
    });
    const present = new Set(shown.map(({ id }) => id));
    for (const id of rows.keys()) if (!present.has(id)) rows.delete(id);
    const keys = new Set(groups.map(({ key }) => key));
    for (const key of days.keys()) if (!keys.has(key)) days.delete(key);

    setText(more, isBusy ? labels.loading : labels.older);
    set(more, { "aria-disabled": isBusy ? "true" : null });
    if (held.waiting > 0) setText(waiting, counted(labels, labels.waiting, held.waiting));
    arrange(element, held.waiting > 0 ? [scroller, waiting] : [scroller]);
  }

  return {
    element,
    update(state, replacement) {
      // What a list keeps in place must not be another user's.
      if (state.userId !== latest.userId) shown = [];
      latest = state;
      instead = replacement;
      render();
    },
  };
}
