// The paths of the icons, in a square of 20 units. Lines are drawn along them.

export const BELL =
  "M10 2.5c-3 0-5 2.3-5 5.2v2.8l-1.4 2.7c-.2.5.1 1 .6 1h11.6c.5 0 .8-.5.6-1L15 10.5V7.7c0-2.9-2-5.2-5-5.2ZM8 16.6a2 2 0 0 0 4 0";
export const CHECK = "m4.5 10.5 3.5 3.5 7.5-8";
export const CHECK_ALL = "m2.5 10.5 3.5 3.5 7-8M10.5 13l1 1 7-8";
export const UNREAD = "M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM10 9a1 1 0 1 0 0 2 1 1 0 0 0 0-2Z";
export const DELETE = "M4 5.5h12M8 5.5V3.8h4v1.7M5.5 5.5l.7 10.7h7.6l.7-10.7M8.5 8.5v5M11.5 8.5v5";
export const CLOSE = "m5 5 10 10M15 5 5 15";
export const OFFLINE =
  "m4 4 12 12M3.5 8a10 10 0 0 1 3-2m3-.8A10 10 0 0 1 16.5 8M6 11a6 6 0 0 1 2.5-1.5m3.5.5 2 1M10 14.5v.1";
export const ARROW = "M6 14 14 6M7.5 6H14v6.5";
export const BACK = "M12 4.5 6.5 10l5.5 5.5";
export const SEND = "M3.5 10 17 3.5 13.5 17l-3-5.5-7-1.5ZM10.5 11.5 17 3.5";
export const CLOCK = "M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM10 6.5V10l2.5 1.5";
export const DOWN = "M10 4.5v11m-4.5-4.5L10 15.5l4.5-4.5";
export const CHATS = "M3.5 4.5h13v9h-7l-3.5 3v-3H3.5v-9Z";
export const INFO = "M10 3.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM10 9.5v4M10 6.5v.1";
export const PLUS = "M10 4.5v11M4.5 10h11";
