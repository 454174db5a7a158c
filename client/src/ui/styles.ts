// Adds style sheets to the page, each once. A constructed sheet is allowed by every content security policy.

/// <reference path="./css.d.ts" />

import { useInsertionEffect } from "react";
import css from "./ui.css?inline";

/** A hook that adds a sheet, unless the page links it itself: then the sheet has set `mark`. */
export function stylesOf(text: string, mark: string): () => void {
  const styled = new WeakSet<Document>();
  const add = (): void => {
    if (styled.has(document)) return;
    styled.add(document);
    if (getComputedStyle(document.documentElement).getPropertyValue(mark)) return;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  };
  return () => useInsertionEffect(add, []);
}

/** Styles the components before they are laid out for the first time. */
export const useStyles: () => void = /* @__PURE__ */ stylesOf(css, "--carillon-styles");
