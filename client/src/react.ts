// The provider and all hooks. The components import the modules themselves, so that a bell reaches none of the chats.

"use client";

export * from "./chat-react.js";
export type { NotificationGroup } from "./grouping.js";
export * from "./hooks.js";
export type { Channel, Preferences, PreferencesState, QuietHours, UserPreferences } from "./preferences.js";
export { CarillonProvider, signOut, useClient } from "./provider.js";
