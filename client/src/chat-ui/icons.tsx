// The icons of the chats. They are hidden from screen readers, so the element around each has a name.

import type { ReactElement } from "react";
import { icon } from "../ui/icons.js";
import { BACK, CHATS, CHECK, CHECK_ALL, CLOCK, CLOSE, DELETE, DOWN, INFO, PLUS, SEND } from "../ui/paths.js";

export const BackIcon: () => ReactElement = /* @__PURE__ */ icon(BACK);
export const ChatsIcon: () => ReactElement = /* @__PURE__ */ icon(CHATS);
export const CloseIcon: () => ReactElement = /* @__PURE__ */ icon(CLOSE);
export const DeleteIcon: () => ReactElement = /* @__PURE__ */ icon(DELETE);
export const DownIcon: () => ReactElement = /* @__PURE__ */ icon(DOWN);
export const InfoIcon: () => ReactElement = /* @__PURE__ */ icon(INFO);
export const PlusIcon: () => ReactElement = /* @__PURE__ */ icon(PLUS);
export const ReadIcon: () => ReactElement = /* @__PURE__ */ icon(CHECK_ALL);
export const SendIcon: () => ReactElement = /* @__PURE__ */ icon(SEND);
export const SendingIcon: () => ReactElement = /* @__PURE__ */ icon(CLOCK);
export const SentIcon: () => ReactElement = /* @__PURE__ */ icon(CHECK);
