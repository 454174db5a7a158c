"use client";

// Ready-made components for React: a bell, an inbox, toasts and preferences.

export { Bell, BellButton } from "./Bell.js";
export { Inbox } from "./Inbox.js";
export { type Counted, de, en, es, type Labels } from "./labels.js";
export type { Link } from "./links.js";
export { Preferences, type PreferencesProps, type PreferenceType } from "./Preferences.js";
export { type PreferenceLabels, preferencesDe, preferencesEn, preferencesEs } from "./preferenceLabels.js";
export { Toasts } from "./Toasts.js";
export type {
  BellButtonProps,
  BellProps,
  InboxOptions,
  InboxProps,
  InboxTab,
  RowActions,
  Slots,
  ToastsProps,
} from "./types.js";
