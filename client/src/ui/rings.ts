// Which events ring: a bell moves, a toast shows, a screen reader speaks.

import type { CarillonEvent, Notification } from "../types.js";

/** The notification that an event rings for, or `null` if there is none, or a silent one. */
export function ringOf(event: CarillonEvent): Notification | null {
  if (event.type === "pushed") return event.notification;
  return event.type === "notification" && !event.silent ? event.notification : null;
}
