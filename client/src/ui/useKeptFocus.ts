// Keeps the focus in the list: moves it by key from row to row, and on when its row disappears.

import { type FocusEvent, type KeyboardEvent, type RefObject, useLayoutEffect, useRef } from "react";
import type { Notification } from "../types.js";

const rowOf = (element: Element): HTMLElement | null => element.closest<HTMLElement>("[data-notification]");
const rowsIn = (list: Element): HTMLElement[] => [...list.querySelectorAll<HTMLElement>("[data-notification]")];

/** Focuses the control of a row that does the same, otherwise its first one. */
function focusIn(row: Element | null | undefined, act: string, options?: FocusOptions): boolean {
  const control =
    row?.querySelector<HTMLElement>(`[data-act="${act}"]`) ?? row?.querySelector<HTMLElement>("a[href],button");
  control?.focus(options);
  return control !== null && control !== undefined;
}

/** Handlers for the list. */
export interface KeptFocus {
  readonly onFocus: (event: FocusEvent<HTMLElement>) => void;
  readonly onBlur: (event: FocusEvent<HTMLElement>) => void;
  readonly onKeyDown: (event: KeyboardEvent<HTMLElement>) => void;
}

export function useKeptFocus(
  list: RefObject<HTMLElement | null>,
  rows: readonly Notification[],
  gone: ReadonlySet<string>,
  hadFocus: RefObject<boolean>,
): KeptFocus {
  const focused = useRef<{ id: string; act: string } | null>(null);
  const previous = useRef<readonly Notification[]>([]);

  // A tab may disappear with its last row, and then another list takes the place of this one.
  useLayoutEffect(() => {
    const element = list.current;
    if (hadFocus.current) element?.focus({ preventScroll: true });
    hadFocus.current = false;
    return () => {
      hadFocus.current = !!element?.contains((element.getRootNode() as Document | ShadowRoot).activeElement);
    };
  }, [list, hadFocus]);
  useLayoutEffect(() => {
    const before = previous.current;
    previous.current = rows;
    const lost = focused.current;
    const element = list.current;
    if (!lost || !element) return;
    const root = element.getRootNode() as Document | ShadowRoot;
    // Without this, the focus would go to the top of the page.
    if (root.activeElement && root.activeElement !== document.body) return;
    const index = before.findIndex(({ id }) => id === lost.id);
    const candidates = [...before.slice(index), ...before.slice(0, index).reverse()];
    const byId = new Map(rowsIn(element).map((row) => [row.dataset["notification"], row]));
    const next = candidates.find(({ id }) => byId.has(id) && !gone.has(id));
    // Under the pointer nothing may move, and scrolling to the focus would.
    const preventScroll = gone.size > 0;
    if (!focusIn(next && byId.get(next.id), lost.act, { preventScroll })) element.focus({ preventScroll: true });
  }, [list, rows, gone]);

  return {
    onFocus({ target }) {
      const id = rowOf(target)?.dataset["notification"];
      focused.current = id === undefined ? null : { id, act: (target as HTMLElement).dataset["act"] ?? "" };
    },
    onBlur({ target }) {
      const left = focused.current;
      // An element that is being removed is no longer in the document when the microtask runs. A script that moves the
      // focus has done so by then.
      queueMicrotask(() => {
        if (target.isConnected && focused.current === left) focused.current = null;
      });
    },
    onKeyDown(event) {
      const target = event.target as HTMLElement;
      const row = rowOf(target);
      if (!row || event.altKey || event.ctrlKey || event.metaKey || target.matches("input,textarea,select")) return;
      const rows = rowsIn(event.currentTarget);
      const index = rows.indexOf(row);
      const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: rows.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      focusIn(rows[next], target.dataset["act"] ?? "");
    },
  };
}
