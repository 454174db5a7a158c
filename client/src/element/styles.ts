// The style sheet of the components, within a shadow root. The variables of the page reach into it.

/// <reference path="../ui/css.d.ts" />

import css from "../ui/ui.css?inline";

const HOST = ":host{display:inline-block}:host([hidden]){display:none}";
let sheet: CSSStyleSheet | undefined;

/** Styles a shadow root. A constructed sheet is allowed by every content security policy. */
export function addStyles(root: ShadowRoot): void {
  if (!("adoptedStyleSheets" in root)) {
    // Firefox before 101.
    const style = document.createElement("style");
    style.textContent = HOST + css;
    (root as ShadowRoot).append(style);
    return;
  }
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(HOST + css);
  }
  root.adoptedStyleSheets = [sheet];
}
