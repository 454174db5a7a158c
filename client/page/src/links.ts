// Decides which links of a notification the page offers.

/** Whether a link is safe to follow: a path on this server, or https. */
export function isSafeUrl(url: string): boolean {
  // Browsers treat "/\" as "//", and remove tabs and line breaks before they parse a URL.
  if (/[\s\p{Cc}]/u.test(url)) return false;
  return /^\/(?![/\\])/.test(url) || /^https:\/\/[^/]/i.test(url);
}
