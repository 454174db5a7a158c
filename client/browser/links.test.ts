// Which links of a notification the page offers.

import { expect, test } from "vitest";
import { isSafeUrl } from "../page/src/links.js";

test.each(["/reports/123", "/", "/a?b=c#d", "https://example.com/x"])("%s is a safe link", (url) => {
  expect(isSafeUrl(url)).toBe(true);
});

test.each([
  "//example.com",
  "/\\example.com",
  "/\t/example.com",
  "javascript:alert(1)",
  "JAVASCRIPT:alert(1)",
  "data:text/html,x",
  "http://example.com",
  "https:example.com",
  "https:///example.com",
  " https://example.com",
  "reports/123",
  "",
])("%s is not a safe link", (url) => {
  expect(isSafeUrl(url)).toBe(false);
});
