// The inbox that a bell opens.

import type { Client, Notification, Problem, State } from "../types.js";
import type { Labels } from "../ui/labels.js";
import { CHECK_ALL, CLOSE, OFFLINE } from "../ui/paths.js";
import { arrange, button, h, icon, set, setText } from "./dom.js";
import { createList } from "./list.js";

export interface PanelHost {
  client(): Client | null;
  labels(): Labels;
  close(): void;
  /** A link is followed, unless the event is cancelled. */
  open(notification: Notification, event: MouseEvent): void;
}

export interface Panel {
  readonly element: HTMLElement;
  update(state: State): void;
}

const SKELETONS = 6;

/** The client shows a refusal in its state, so the rejected promise says nothing new. */
const ignore = (): void => {};

export function createPanel(host: PanelHost): Panel {
  const heading = h("h2", { id: "title" });
  const readAllText = h("span", { "data-wide": true });
  const readAll = button(
    {},
    () => readAll.getAttribute("aria-disabled") === "true" || void host.client()?.markAllAsRead().catch(ignore),
    icon(CHECK_ALL),
    readAllText,
  );
  const close = button({}, host.close, icon(CLOSE));
  const spoken = h("span", { class: "carillon-spoken" });
  const skeletons = Array.from({ length: SKELETONS }, () => h("div", { class: "carillon-skeleton" }));
  const loading = h("div", { class: "carillon-loading" }, spoken, ...skeletons);
  const [emptyText, emptyHint] = [h("p"), h("p")];
  const empty = h("div", { class: "carillon-empty" }, emptyText, emptyHint);
  const [failure, code] = [h("span"), h("code")];
  const dismiss = button({}, () => host.client()?.dismissError(), icon(CLOSE));
  const problem = h("div", { class: "carillon-notice", "data-tone": "bad" }, h("p", {}, failure, " ", code), dismiss);
  const noteText = h("span");
  const note = h("p", { class: "carillon-notice" }, icon(OFFLINE), noteText);
  const [alert, status] = [h("div", { role: "alert" }), h("div", { role: "status" })];
  const list = createList({
    labels: host.labels,
    open: host.open,
    setRead(notification, isRead) {
      const client = host.client();
      void (isRead ? client?.markAsRead(notification.id) : client?.markAsUnread(notification.id))?.catch(ignore);
    },
    remove: ({ id }) => void host.client()?.deleteNotification(id).catch(ignore),
    loadMore: () => void host.client()?.loadMore().catch(ignore),
  });
  const element = h(
    "section",
    { class: "carillon-inbox carillon-popover", role: "dialog", "aria-labelledby": "title", id: "panel", tabindex: -1 },
    h("header", { class: "carillon-head" }, heading, readAll, close),
    list.element,
    h("div", { class: "carillon-notices" }, alert, status),
  );
  set(element, { popover: "manual" });

  function name(control: Element, label: string): void {
    set(control, { "aria-label": label, title: label });
  }

  function showProblem(error: Problem | null, labels: Labels): void {
    // The client recovers from all other problems on its own.
    const shown = error?.action ? error : null;
    if (shown) {
      setText(failure, labels.failed);
      setText(code, shown.code);
    }
    arrange(alert, shown ? [problem] : []);
  }

  return {
    element,
    update({
      notifications,
      unreadCount,
      hasMore,
      loading: isLoading,
      loadingMore,
      error,
      wsStatus,
      fromCache,
      userId,
    }) {
      const labels = host.labels();
      const isOffline = wsStatus === "offline";
      setText(heading, labels.title);
      setText(readAllText, labels.markAllRead);
      name(readAll, labels.markAllRead);
      name(close, labels.close);
      name(dismiss, labels.dismiss);
      set(readAll, { "aria-disabled": unreadCount === 0 ? "true" : null });
      setText(spoken, labels.loading);
      setText(emptyText, isOffline ? labels.offlineEmpty : labels.empty);
      setText(emptyHint, labels.emptyHint);
      const waits = isLoading && !isOffline && notifications.length === 0;
      set(element, { "aria-busy": waits ? "true" : null });
      list.update({ userId, notifications, hasMore, isBusy: loadingMore }, waits ? loading : empty);
      showProblem(error, labels);
      const text = isOffline ? labels.offline : fromCache ? labels.fromCache : "";
      setText(noteText, text);
      arrange(status, text === "" || waits ? [] : [note]);
    },
  };
}
