// One notification. Its content comes from the network, so it is shown as text only.

import type { Notification } from "../types.js";
import { formatsOf, named, shown } from "../ui/format.js";
import type { Labels } from "../ui/labels.js";
import { linkOf } from "../ui/links.js";
import { ARROW, CHECK, DELETE, UNREAD } from "../ui/paths.js";
import { button, focusedIn, h, icon, set } from "./dom.js";

/** What a row tells the list. */
export interface RowHost {
  labels(): Labels;
  setRead(notification: Notification, isRead: boolean): void;
  remove(notification: Notification): void;
  open(notification: Notification, event: MouseEvent): void;
}

export interface Row {
  readonly element: HTMLLIElement;
  /** A row that is gone stands only for the place that its notification left. */
  update(notification: Notification, isGone: boolean): void;
}

export function createRow(first: Notification, host: RowHost): Row {
  let notification = first;
  const isUnread = (): boolean => notification.readAt === null;
  const main = h("div", { class: "carillon-main" });
  const element = h("li", { class: "carillon-row" }, h("span", { class: "carillon-dot", "aria-hidden": "true" }), main);
  const toggle = button({ "data-act": "read" }, () => host.setRead(notification, isUnread()));
  const remove = button({ "data-act": "delete" }, () => host.remove(notification), icon(DELETE));
  const actions = h("span", { class: "carillon-actions" }, toggle, remove);
  /** What the text was made of, and with which words. */
  let made = "";
  let words: Labels | null = null;

  function title(isGone: boolean): HTMLElement {
    const labels = host.labels();
    const link = isGone ? null : linkOf(notification.actionUrl);
    const unread = isUnread() && !isGone && h("span", { class: "carillon-spoken" }, `${labels.unread}: `);
    if (!link) return h("p", { class: "carillon-row-title" }, unread, shown(notification.title));
    const anchor = h("a", { class: "carillon-link", href: link.href, "data-act": "open" }, shown(notification.title));
    anchor.addEventListener("click", (event) => host.open(notification, event));
    if (link.external) {
      // The other page gets no access to this one.
      set(anchor, { target: "_blank", rel: "noopener noreferrer" });
      anchor.append(h("span", { class: "carillon-spoken" }, ` (${labels.newTab})`), icon(ARROW));
    }
    return h("p", { class: "carillon-row-title" }, unread, anchor);
  }

  function text(isGone: boolean): void {
    const labels = host.labels();
    const { body, createdAt, priority } = notification;
    const at = new Date(createdAt);
    const formats = formatsOf(labels.locale);
    const isUrgent = priority === "high" || priority === "critical";
    const hadFocus = focusedIn(main)?.getAttribute("data-act");
    main.replaceChildren(
      title(isGone),
      ...(body ? [h("p", { class: "carillon-body" }, shown(body))] : []),
      h(
        "div",
        { class: "carillon-foot" },
        h("time", { datetime: createdAt, title: formats.full(at) }, formats.time(at)),
        isUrgent && h("span", { class: "carillon-priority", "data-priority": priority }, labels[priority]),
        isGone ? h("span", { class: "carillon-actions" }, labels.deleted) : actions,
      ),
    );
    if (hadFocus) main.querySelector<HTMLElement>(`[data-act="${hadFocus}"]`)?.focus();
  }

  return {
    element,
    update(next, isGone) {
      const labels = host.labels();
      if (next === notification && labels === words && isGone === element.hasAttribute("data-gone")) return;
      notification = next;
      const { id, title, body, actionUrl, priority, createdAt } = next;
      const content = JSON.stringify([title, body, actionUrl, priority, createdAt, isUnread(), isGone]);
      if (content === made && labels === words) return;
      made = content;
      words = labels;
      const label = isUnread() ? labels.markRead : labels.markUnread;
      set(element, { "data-notification": isGone ? null : id, "data-gone": isGone && id });
      set(element, { "data-unread": isUnread() && !isGone && "true" });
      set(toggle, { "aria-label": `${label}: ${named(title)}`, title: label });
      toggle.replaceChildren(icon(isUnread() ? CHECK : UNREAD));
      set(remove, { "aria-label": `${labels.delete}: ${named(title)}`, title: labels.delete });
      text(isGone);
    },
  };
}
