// The words of the preferences, apart from those of the inbox, which more pages show.

import { completer } from "./labels.js";

/** The labels of `<Preferences/>`. */
export interface PreferenceLabels {
  readonly locale: string;
  readonly title: string;
  readonly device: string;
  readonly deviceOn: string;
  /** Why push cannot be turned on in this browser. */
  readonly denied: string;
  readonly unsupported: string;
  readonly insecure: string;
  readonly install: string;
  readonly types: string;
  /** All types that are not listed. */
  readonly others: string;
  readonly realtime: string;
  readonly push: string;
  readonly quiet: string;
  readonly quietOn: string;
  readonly from: string;
  readonly to: string;
  /** `{zone}` is the time zone. */
  readonly quietHint: string;
  readonly muted: string;
  readonly unmute: string;
  readonly loading: string;
  readonly failed: string;
  readonly dismiss: string;
}

export const preferencesEn: PreferenceLabels = {
  locale: "en",
  title: "Notification settings",
  device: "This device",
  deviceOn: "Show notifications while the page is closed",
  denied: "Notifications are blocked in the settings of this browser.",
  unsupported: "This browser cannot show them.",
  insecure: "They need a secure connection.",
  install: "Add this page to the home screen first.",
  types: "What rings",
  others: "Everything else",
  realtime: "On the page",
  push: "Push",
  quiet: "Quiet hours",
  quietOn: "Hold pushes at night",
  from: "From",
  to: "To",
  quietHint: "In the time zone {zone}. The inbox does not wait.",
  muted: "Muted chats",
  unmute: "Unmute",
  loading: "Loading…",
  failed: "The change was not made.",
  dismiss: "Dismiss",
};

export const preferencesDe: PreferenceLabels = {
  locale: "de",
  title: "Benachrichtigungen einstellen",
  device: "Dieses Gerät",
  deviceOn: "Benachrichtigen, während die Seite geschlossen ist",
  denied: "Benachrichtigungen sind in diesem Browser blockiert.",
  unsupported: "Dieser Browser kann sie nicht anzeigen.",
  insecure: "Sie brauchen eine sichere Verbindung.",
  install: "Fügen Sie die Seite zuerst dem Home-Bildschirm hinzu.",
  types: "Was klingelt",
  others: "Alles andere",
  realtime: "Auf der Seite",
  push: "Push",
  quiet: "Ruhezeit",
  quietOn: "Push nachts zurückhalten",
  from: "Von",
  to: "Bis",
  quietHint: "In der Zeitzone {zone}. Der Posteingang wartet nicht.",
  muted: "Stummgeschaltete Chats",
  unmute: "Stummschaltung aufheben",
  loading: "Wird geladen…",
  failed: "Die Änderung wurde nicht übernommen.",
  dismiss: "Ausblenden",
};

export const preferencesEs: PreferenceLabels = {
  locale: "es",
  title: "Ajustes de notificaciones",
  device: "Este dispositivo",
  deviceOn: "Mostrar notificaciones con la página cerrada",
  denied: "Las notificaciones están bloqueadas en este navegador.",
  unsupported: "Este navegador no puede mostrarlas.",
  insecure: "Necesitan una conexión segura.",
  install: "Añade primero la página a la pantalla de inicio.",
  types: "Qué suena",
  others: "Todo lo demás",
  realtime: "En la página",
  push: "Push",
  quiet: "Horas de silencio",
  quietOn: "Retener los push por la noche",
  from: "De",
  to: "A",
  quietHint: "En la zona horaria {zone}. La bandeja no espera.",
  muted: "Chats silenciados",
  unmute: "Activar sonido",
  loading: "Cargando…",
  failed: "No se pudo hacer el cambio.",
  dismiss: "Descartar",
};

/** Takes every label that is missing from English. */
export const completePreferences: (labels: Partial<PreferenceLabels> | undefined) => PreferenceLabels =
  /* @__PURE__ */ completer(preferencesEn);
