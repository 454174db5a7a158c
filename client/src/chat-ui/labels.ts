// The words of the chats. A label is a string, or one for each plural category of the language.

import { type Counted, completer } from "../ui/labels.js";
import { type GroupLabels, groupWords } from "./groupLabels.js";

/** All labels of the chats, and the language in which dates and numbers are written. */
export interface ChatLabels extends GroupLabels {
  /** A BCP 47 tag. The browser's own variant of the language is preferred: `en` becomes `en-GB` for a British user. */
  readonly locale: string;
  readonly title: string;
  readonly back: string;
  readonly loading: string;
  readonly empty: string;
  readonly emptyHint: string;
  /** Where no chat is open. */
  readonly choose: string;
  readonly older: string;
  readonly you: string;
  readonly erasedUser: string;
  readonly erasedMessage: string;
  readonly noMessages: string;
  readonly unread: Counted;
  readonly members: Counted;
  readonly online: string;
  readonly offline: string;
  /** `{time}` is when the user was last connected. */
  readonly lastSeen: string;
  readonly typing: string;
  readonly typingMany: Counted;
  /** Marks a chat that waits for an answer. */
  readonly request: string;
  readonly requestFrom: string;
  readonly accept: string;
  readonly decline: string;
  readonly pending: string;
  readonly pendingFull: string;
  readonly declined: string;
  /** Where the unread messages begin. */
  readonly newMessages: string;
  /** The button for messages that arrived while the user reads older ones. */
  readonly waiting: Counted;
  readonly messages: string;
  readonly message: string;
  readonly messageTo: string;
  readonly send: string;
  readonly left: Counted;
  readonly tooLong: Counted;
  readonly sending: string;
  readonly sent: string;
  readonly read: string;
  readonly readBy: Counted;
  readonly failed: string;
  readonly retry: string;
  readonly discard: string;
  readonly delete: string;
  readonly deleted: string;
  readonly deletedHint: string;
  readonly restore: string;
  readonly deletedChats: string;
  readonly noDeleted: string;
  readonly newGroup: string;
  /** The button that shows the title and the members of a group, and what it shows. */
  readonly group: string;
  readonly gone: string;
  readonly saved: string;
  readonly offlineEmpty: string;
  readonly notDone: string;
  readonly dismiss: string;
  /** Announced to screen readers. */
  readonly arrived: string;
  readonly arrivedMany: Counted;
}

/** The labels that a page needs at first. */
export type FirstLabels = Omit<ChatLabels, keyof GroupLabels>;

const first: FirstLabels = {
  locale: "en",
  title: "Chats",
  back: "Back to the chats",
  loading: "Loading…",
  empty: "No chats yet.",
  emptyHint: "New ones appear here.",
  choose: "Choose a chat.",
  older: "Show older",
  you: "You",
  erasedUser: "Deleted user",
  erasedMessage: "This message was deleted.",
  noMessages: "No messages yet",
  unread: { other: "{n} unread" },
  members: { one: "{n} member", other: "{n} members" },
  online: "Online",
  offline: "Offline",
  lastSeen: "Last seen {time}",
  typing: "{name} is typing…",
  typingMany: { other: "{n} people are typing…" },
  request: "Request",
  requestFrom: "{name} wants to chat with you.",
  accept: "Accept",
  decline: "Decline",
  pending: "{name} has not accepted yet. Until then you can send three messages.",
  pendingFull: "{name} has not accepted yet. You have sent three messages.",
  declined: "This chat was declined.",
  newMessages: "New messages",
  waiting: { other: "{n} new" },
  messages: "Messages",
  message: "Message",
  messageTo: "Message to {name}",
  send: "Send message",
  left: { one: "{n} character left", other: "{n} characters left" },
  tooLong: { one: "{n} character too many", other: "{n} characters too many" },
  sending: "Sending",
  sent: "Sent",
  read: "Read",
  readBy: { other: "Read by {n}" },
  failed: "Not sent.",
  retry: "Try again",
  discard: "Discard",
  delete: "Delete chat",
  deleted: "You deleted this chat.",
  deletedHint: "It comes back with the next message.",
  restore: "Restore",
  deletedChats: "Deleted chats",
  noDeleted: "No deleted chats.",
  newGroup: "New group",
  group: "Group details",
  gone: "This chat no longer exists.",
  saved: "Offline. Showing saved messages.",
  offlineEmpty: "You are offline.",
  notDone: "The change was not made.",
  dismiss: "Dismiss",
  arrived: "{name}: {text}",
  arrivedMany: { other: "{n} new messages" },
};

export const en: ChatLabels = /* @__PURE__ */ Object.assign({}, first, groupWords);

export const de: ChatLabels = {
  locale: "de",
  title: "Chats",
  back: "Zurück zu den Chats",
  loading: "Wird geladen…",
  empty: "Noch keine Chats.",
  emptyHint: "Neue erscheinen hier.",
  choose: "Wähle einen Chat.",
  older: "Ältere anzeigen",
  you: "Du",
  erasedUser: "Gelöschter Nutzer",
  erasedMessage: "Diese Nachricht wurde gelöscht.",
  noMessages: "Noch keine Nachrichten",
  unread: { other: "{n} ungelesen" },
  members: { one: "{n} Mitglied", other: "{n} Mitglieder" },
  online: "Online",
  offline: "Offline",
  lastSeen: "Zuletzt online: {time}",
  typing: "{name} schreibt…",
  typingMany: { other: "{n} schreiben…" },
  request: "Anfrage",
  requestFrom: "{name} möchte mit dir chatten.",
  accept: "Annehmen",
  decline: "Ablehnen",
  pending: "{name} hat noch nicht angenommen. Bis dahin kannst du drei Nachrichten senden.",
  pendingFull: "{name} hat noch nicht angenommen. Du hast drei Nachrichten gesendet.",
  declined: "Dieser Chat wurde abgelehnt.",
  newMessages: "Neue Nachrichten",
  waiting: { one: "1 neue", other: "{n} neue" },
  messages: "Nachrichten",
  message: "Nachricht",
  messageTo: "Nachricht an {name}",
  send: "Nachricht senden",
  left: { one: "Noch {n} Zeichen", other: "Noch {n} Zeichen" },
  tooLong: { one: "{n} Zeichen zu viel", other: "{n} Zeichen zu viel" },
  sending: "Wird gesendet",
  sent: "Gesendet",
  read: "Gelesen",
  readBy: { other: "Von {n} gelesen" },
  failed: "Nicht gesendet.",
  retry: "Erneut senden",
  discard: "Verwerfen",
  delete: "Chat löschen",
  deleted: "Du hast diesen Chat gelöscht.",
  deletedHint: "Mit der nächsten Nachricht erscheint er wieder.",
  restore: "Wiederherstellen",
  deletedChats: "Gelöschte Chats",
  noDeleted: "Keine gelöschten Chats.",
  newGroup: "Neue Gruppe",
  group: "Gruppendetails",
  gone: "Diesen Chat gibt es nicht mehr.",
  saved: "Offline. Gespeicherte Nachrichten.",
  offlineEmpty: "Keine Verbindung.",
  notDone: "Die Änderung wurde nicht übernommen.",
  dismiss: "Ausblenden",
  arrived: "{name}: {text}",
  arrivedMany: { other: "{n} neue Nachrichten" },
  titleOptional: "Titel (optional)",
  groupTitle: "Titel",
  save: "Speichern",
  renamed: "Titel gespeichert.",
  person: "Nutzer-ID hinzufügen",
  add: "Hinzufügen",
  added: "{name} wurde hinzugefügt.",
  remove: "Entfernen",
  removed: "{name} wurde entfernt.",
  create: "Gruppe erstellen",
  owner: "Gruppenleitung",
  moreMembers: "Weitere anzeigen",
  leave: "Gruppe verlassen",
  leaveAsk: "Diese Gruppe verlassen? Danach muss dich ein Mitglied wieder hinzufügen.",
  leaveYes: "Verlassen",
  cancel: "Abbrechen",
};

export const es: ChatLabels = {
  locale: "es",
  title: "Chats",
  back: "Volver a los chats",
  loading: "Cargando…",
  empty: "Aún no hay chats.",
  emptyHint: "Los nuevos aparecerán aquí.",
  choose: "Elige un chat.",
  older: "Ver anteriores",
  you: "Tú",
  erasedUser: "Usuario eliminado",
  erasedMessage: "Este mensaje se eliminó.",
  noMessages: "Aún no hay mensajes",
  unread: { other: "{n} sin leer" },
  members: { one: "{n} miembro", other: "{n} miembros" },
  online: "En línea",
  offline: "Desconectado",
  lastSeen: "Últ. vez: {time}",
  typing: "{name} está escribiendo…",
  typingMany: { other: "{n} están escribiendo…" },
  request: "Solicitud",
  requestFrom: "{name} quiere chatear contigo.",
  accept: "Aceptar",
  decline: "Rechazar",
  pending: "{name} aún no ha aceptado. Hasta entonces puedes enviar tres mensajes.",
  pendingFull: "{name} aún no ha aceptado. Has enviado tres mensajes.",
  declined: "Este chat fue rechazado.",
  newMessages: "Mensajes nuevos",
  waiting: { one: "1 nuevo", other: "{n} nuevos" },
  messages: "Mensajes",
  message: "Mensaje",
  messageTo: "Mensaje para {name}",
  send: "Enviar mensaje",
  left: { one: "Queda {n} carácter", other: "Quedan {n} caracteres" },
  tooLong: { one: "Sobra {n} carácter", other: "Sobran {n} caracteres" },
  sending: "Enviando",
  sent: "Enviado",
  read: "Leído",
  readBy: { other: "Leído por {n}" },
  failed: "No enviado.",
  retry: "Reintentar",
  discard: "Descartar",
  delete: "Eliminar chat",
  deleted: "Has eliminado este chat.",
  deletedHint: "Volverá con el próximo mensaje.",
  restore: "Restaurar",
  deletedChats: "Chats eliminados",
  noDeleted: "No hay chats eliminados.",
  newGroup: "Nuevo grupo",
  group: "Detalles del grupo",
  gone: "Este chat ya no existe.",
  saved: "Sin conexión. Mensajes guardados.",
  offlineEmpty: "Sin conexión.",
  notDone: "No se pudo hacer el cambio.",
  dismiss: "Descartar",
  arrived: "{name}: {text}",
  arrivedMany: { other: "{n} mensajes nuevos" },
  titleOptional: "Título (opcional)",
  groupTitle: "Título",
  save: "Guardar",
  renamed: "Título guardado.",
  person: "Añadir ID de usuario",
  add: "Añadir",
  added: "Se añadió a {name}.",
  remove: "Quitar",
  removed: "Se quitó a {name}.",
  create: "Crear grupo",
  owner: "Propietario",
  moreMembers: "Ver más",
  leave: "Salir del grupo",
  leaveAsk: "¿Salir de este grupo? Para volver, un miembro tendrá que añadirte.",
  leaveYes: "Salir",
  cancel: "Cancelar",
};

/** Takes every label that is missing, except those of groups, from English. The same object gives the same result. */
export const complete: (labels: Partial<ChatLabels> | undefined) => FirstLabels = /* @__PURE__ */ completer(first);

/** Writes a name, a text or a time into a label. */
export function filled(label: string, values: Readonly<Record<string, string>>): string {
  return label.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}
