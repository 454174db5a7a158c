// The words of the components. A label is a string, or one for each plural category of the language.

/** A label with a count, by the categories of `Intl.PluralRules`. `{n}` is the count. */
export type Counted = { readonly other: string } & {
  readonly [category in "zero" | "one" | "two" | "few" | "many"]?: string;
};

/** All labels, and the language in which dates and numbers are written. */
export interface Labels {
  /** A BCP 47 tag. The browser's own variant of the language is preferred: `en` becomes `en-GB` for a British user. */
  readonly locale: string;
  readonly title: string;
  readonly close: string;
  /** The bell's name for screen readers. */
  readonly bellUnread: Counted;
  readonly bellNoneUnread: string;
  readonly all: string;
  readonly unread: string;
  readonly filter: string;
  readonly markAllRead: string;
  readonly markRead: string;
  readonly markUnread: string;
  readonly delete: string;
  readonly deleted: string;
  readonly snooze: string;
  /** `{time}` is the day of the week and the time at which it comes back. */
  readonly snoozed: string;
  readonly inAnHour: string;
  readonly tomorrow: string;
  readonly cancel: string;
  readonly newTab: string;
  readonly high: string;
  readonly critical: string;
  /** The button behind which new notifications wait while the list is in use. */
  readonly waiting: Counted;
  readonly older: string;
  readonly loading: string;
  readonly empty: string;
  readonly emptyHint: string;
  readonly allRead: string;
  readonly allReadHint: string;
  readonly offline: string;
  readonly offlineEmpty: string;
  readonly fromCache: string;
  readonly failed: string;
  readonly dismiss: string;
  /** Announced to screen readers. `{title}` is the notification's. */
  readonly arrived: string;
  readonly arrivedMany: Counted;
}

export const en: Labels = {
  locale: "en",
  title: "Notifications",
  close: "Close",
  bellUnread: { other: "Notifications, {n} unread" },
  bellNoneUnread: "Notifications, none unread",
  all: "All",
  unread: "Unread",
  filter: "Filter notifications",
  markAllRead: "Mark all read",
  markRead: "Mark as read",
  markUnread: "Mark as unread",
  delete: "Delete",
  deleted: "Deleted",
  snooze: "Snooze",
  snoozed: "Snoozed until {time}",
  inAnHour: "1 hour",
  tomorrow: "Tomorrow",
  cancel: "Cancel",
  newTab: "opens in a new tab",
  high: "High",
  critical: "Critical",
  waiting: { other: "{n} new" },
  older: "Show older",
  loading: "Loading…",
  empty: "No notifications yet.",
  emptyHint: "New ones appear here.",
  allRead: "All read.",
  allReadHint: "Read notifications are under “All”.",
  offline: "Offline. Showing saved notifications.",
  offlineEmpty: "You are offline.",
  fromCache: "Showing saved notifications. Updating…",
  failed: "The change was not made.",
  dismiss: "Dismiss",
  arrived: "New notification: {title}",
  arrivedMany: { other: "{n} new notifications" },
};

export const de: Labels = {
  locale: "de",
  title: "Benachrichtigungen",
  close: "Schließen",
  bellUnread: { other: "Benachrichtigungen, {n} ungelesen" },
  bellNoneUnread: "Benachrichtigungen, keine ungelesen",
  all: "Alle",
  unread: "Ungelesen",
  filter: "Benachrichtigungen filtern",
  markAllRead: "Alle gelesen",
  markRead: "Als gelesen markieren",
  markUnread: "Als ungelesen markieren",
  delete: "Löschen",
  deleted: "Gelöscht",
  snooze: "Später erinnern",
  snoozed: "Zurückgestellt bis {time}",
  inAnHour: "1 Stunde",
  tomorrow: "Morgen",
  cancel: "Abbrechen",
  newTab: "öffnet in neuem Tab",
  high: "Hoch",
  critical: "Kritisch",
  waiting: { one: "1 neue", other: "{n} neue" },
  older: "Ältere anzeigen",
  loading: "Wird geladen…",
  empty: "Noch keine Benachrichtigungen.",
  emptyHint: "Neue erscheinen hier.",
  allRead: "Alles gelesen.",
  allReadHint: "Gelesene Benachrichtigungen stehen unter „Alle“.",
  offline: "Offline. Gespeicherte Benachrichtigungen.",
  offlineEmpty: "Keine Verbindung.",
  fromCache: "Gespeicherte Benachrichtigungen. Wird aktualisiert…",
  failed: "Die Änderung wurde nicht übernommen.",
  dismiss: "Ausblenden",
  arrived: "Neue Benachrichtigung: {title}",
  arrivedMany: { other: "{n} neue Benachrichtigungen" },
};

export const es: Labels = {
  locale: "es",
  title: "Notificaciones",
  close: "Cerrar",
  bellUnread: { other: "Notificaciones, {n} sin leer" },
  bellNoneUnread: "Notificaciones, ninguna sin leer",
  all: "Todas",
  unread: "Sin leer",
  filter: "Filtrar notificaciones",
  markAllRead: "Marcar todas",
  markRead: "Marcar como leída",
  markUnread: "Marcar como no leída",
  delete: "Eliminar",
  deleted: "Eliminada",
  snooze: "Posponer",
  snoozed: "Pospuesta hasta {time}",
  inAnHour: "1 hora",
  tomorrow: "Mañana",
  cancel: "Cancelar",
  newTab: "se abre en una pestaña nueva",
  high: "Alta",
  critical: "Crítica",
  waiting: { one: "1 nueva", other: "{n} nuevas" },
  older: "Ver anteriores",
  loading: "Cargando…",
  empty: "Aún no hay notificaciones.",
  emptyHint: "Las nuevas aparecerán aquí.",
  allRead: "Todo leído.",
  allReadHint: "Las notificaciones leídas están en «Todas».",
  offline: "Sin conexión. Notificaciones guardadas.",
  offlineEmpty: "Sin conexión.",
  fromCache: "Notificaciones guardadas. Actualizando…",
  failed: "No se pudo hacer el cambio.",
  dismiss: "Descartar",
  arrived: "Nueva notificación: {title}",
  arrivedMany: { other: "{n} notificaciones nuevas" },
};

/** Takes every label that is missing from the given ones. The same object gives the same result. */
export function completer<L extends { readonly locale: string }>(all: L): (labels: Partial<L> | undefined) => L {
  const completed = new WeakMap<object, L>();
  return (labels) => {
    if (!labels) return all;
    let whole = completed.get(labels);
    if (!whole) {
      const given = Object.entries(labels).filter(([, label]) => label !== undefined && label !== null);
      whole = { ...all, ...Object.fromEntries(given) };
      // `Intl` throws for a tag that is none.
      if (!isLocale(whole.locale)) whole = { ...whole, locale: all.locale };
      completed.set(labels, whole);
    }
    return whole;
  };
}

/** Takes every label that is missing from English. */
export const complete: (labels: Partial<Labels> | undefined) => Labels = /* @__PURE__ */ completer(en);

function isLocale(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length > 0;
  } catch {
    return false;
  }
}

/** Writes a count into a label. */
export function counted(labels: { readonly locale: string }, label: Counted, n: number): string {
  const text = label[new Intl.PluralRules(labels.locale).select(n)] ?? label.other;
  return text.replace("{n}", new Intl.NumberFormat(labels.locale).format(n));
}
