// The styles of the chats, on top of those of the other components.

/// <reference path="../ui/css.d.ts" />

import { stylesOf, useStyles } from "../ui/styles.js";
import css from "./chat-ui.css?inline";

const useOwnStyles: () => void = /* @__PURE__ */ stylesOf(css, "--carillon-chat-styles");

export function useChatStyles(): void {
  useStyles();
  useOwnStyles();
}
