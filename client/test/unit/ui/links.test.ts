// @vitest-environment happy-dom
// @vitest-environment-options { "url": "https://app.example.com/inbox" }

import { afterEach, expect, test } from "vitest";
import { linkOf } from "../../../src/ui/links.js";

afterEach(() => document.head.replaceChildren());

test.each(["/reports/123", "/", "/a?b=c#d", "https://app.example.com/x", "/a//b", "/./a"])("%s stays", (url) => {
  expect(linkOf(url)).toEqual({ href: url, external: false });
});

test.each([
  "https://example.com/x",
  "HTTPS://EXAMPLE.COM",
  "https://app.example.com.evil.test/",
  "https://app.example.com:8443/",
])("%s leads to another origin", (url) => {
  expect(linkOf(url)).toEqual({ href: url, external: true });
});

test.each([
  "//example.com",
  "/\\example.com",
  "\\/example.com",
  "\\\\example.com",
  "/\t/example.com",
  "/\n/example.com",
  "/\u0000/example.com",
  "/\u00a0x",
  "/\u202egpj.exe",
  "/\u200bx",
  "javascript:alert(1)",
  "JAVASCRIPT:alert(1)",
  "java\nscript:alert(1)",
  "\u0001javascript:alert(1)",
  "javascript://app.example.com/%0aalert(1)",
  "data:text/html,x",
  "vbscript:x",
  "blob:https://app.example.com/x",
  "file:///etc/passwd",
  "http://example.com",
  "http:/reports/123",
  "https:example.com",
  "https:/example.com",
  "https:///example.com",
  "https:\\\\example.com",
  "https://\\example.com",
  "https://",
  "https://[",
  "https://exa mple.com",
  "https://%",
  "https://user@example.com/",
  "https://app.example.com@example.com/",
  "https://:secret@example.com/",
  " https://example.com",
  "reports/123",
  "?next=x",
  "#x",
  "",
  null,
  undefined,
  42,
  { toString: () => "/x" },
])("%j is no link", (url) => {
  expect(linkOf(url)).toBeNull();
});

test("a path is no link under a base of another origin", () => {
  const base = document.createElement("base");
  base.href = "https://example.com/";
  document.head.append(base);
  expect(linkOf("/reports/123")).toBeNull();
});
