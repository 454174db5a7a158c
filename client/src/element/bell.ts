// The bell: a button with the number of unread notifications, and the panel that it opens.

import type { Notification, State } from "../types.js";
import { named } from "../ui/format.js";
import { counted } from "../ui/labels.js";
import { BELL } from "../ui/paths.js";
import { place } from "../ui/place.js";
import { arrange, h, icon, set, setText } from "./dom.js";
import { createPanel, type PanelHost } from "./panel.js";

export interface BellHost extends Omit<PanelHost, "close"> {
  state(): State | null;
  align(): "start" | "end";
}

export interface Bell {
  readonly element: HTMLElement;
  /** Shows the present state and labels. */
  update(): void;
  /** Rings, and tells screen readers. */
  ring(notification: Notification): void;
  close(): void;
}

const MAX_COUNT = 99;
/** Arrivals within this time are announced together. */
const GATHER_MS = 800;

export function createBell(host: BellHost): Bell {
  let isOpen = false;
  let gathered: Notification[] = [];
  let userId: string | null = null;
  let clapper = newClapper(false);
  const badge = h("span", { class: "carillon-badge", "aria-hidden": "true" });
  const bell = h("button", { type: "button", class: "carillon-bell", "aria-haspopup": "dialog" }, clapper);
  const live = h("div", { class: "carillon-spoken", "aria-live": "polite" });
  const element = h("span", { class: "carillon-anchor" }, bell, live);
  const panel = createPanel({ ...host, close: closeByHand });

  const move = (): void => place(panel.element, bell, host.align());
  const onOutside = (event: Event): void => {
    if (!event.composedPath().includes(element)) close();
  };

  function open(): void {
    isOpen = true;
    element.append(panel.element);
    update();
    // In the top layer no ancestor can clip or cover it.
    panel.element.showPopover?.();
    move();
    panel.element.focus({ preventScroll: true });
    addEventListener("resize", move);
    addEventListener("scroll", move, true);
    document.addEventListener("pointerdown", onOutside);
  }

  function close(): void {
    if (!isOpen) return;
    isOpen = false;
    removeEventListener("resize", move);
    removeEventListener("scroll", move, true);
    document.removeEventListener("pointerdown", onOutside);
    panel.element.remove();
    update();
  }

  function closeByHand(): void {
    close();
    bell.focus();
  }

  function update(): void {
    const state = host.state();
    const labels = host.labels();
    const unread = state?.unreadCount ?? 0;
    set(bell, {
      "aria-label": unread > 0 ? counted(labels, labels.bellUnread, unread) : labels.bellNoneUnread,
      "aria-expanded": isOpen ? "true" : "false",
      "aria-controls": isOpen ? "panel" : null,
    });
    setText(badge, unread > MAX_COUNT ? `${MAX_COUNT}+` : String(unread));
    arrange(bell, unread > 0 ? [clapper, badge] : [clapper]);
    if (!state) return;
    const isOther = state.userId !== userId;
    if (isOther) {
      userId = state.userId;
      gathered = [];
      live.textContent = "";
    }
    // A closed panel is not in the document, and costs nothing. It only forgets a user who has left.
    if (isOpen || isOther) panel.update(state);
  }

  function announce(): void {
    const labels = host.labels();
    const [first, second] = gathered;
    if (!first) return;
    // A function, because `$&` in a title is no pattern.
    const one = labels.arrived.replace("{title}", () => named(first.title));
    live.textContent = second ? counted(labels, labels.arrivedMany, gathered.length) : one;
    gathered = [];
  }

  bell.addEventListener("click", () => (isOpen ? close() : open()));
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !isOpen) return;
    event.stopPropagation();
    closeByHand();
  });
  element.addEventListener("focusout", ({ relatedTarget }) => {
    // With Tab the focus can leave the panel, which would then cover it.
    if (relatedTarget && !element.contains(relatedTarget as Node)) close();
  });

  return {
    element,
    update,
    ring(notification) {
      // A new element restarts the animation.
      const next = newClapper(true);
      clapper.replaceWith(next);
      clapper = next;
      // The same text twice in a row would be no change, and not be read.
      live.textContent = "";
      if (gathered.push(notification) === 1) setTimeout(announce, GATHER_MS);
    },
    close,
  };
}

function newClapper(rings: boolean): HTMLElement {
  return h("span", { class: "carillon-clapper", "data-rings": rings && "true" }, icon(BELL));
}
