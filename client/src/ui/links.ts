// Decides which links of a notification are offered. An `actionUrl` comes from the network, and may be anything.

/** A link that is safe to follow. */
export interface Link {
  readonly href: string;
  /** Whether it leads to another origin. */
  readonly external: boolean;
}

/** Allows a path on the page's own origin and an absolute https URL, and nothing else. */
export function linkOf(url: unknown): Link | null {
  try {
    const target = targetOf(url, location.origin, document.baseURI);
    return target && { href: String(url), external: target.origin !== location.origin };
  } catch {
    return null;
  }
}

/** Where a link leads that is safe to follow. `base` is what a page resolves it with. */
export function targetOf(url: unknown, origin: string, base: string = origin): URL | null {
  // Browsers treat "/\" as "//", and remove tabs and line breaks before they parse a URL.
  if (typeof url !== "string" || /[\s\p{C}]/u.test(url) || !/^(\/(?![/\\])|https:\/\/[^/\\])/i.test(url)) return null;
  try {
    const target = new URL(url, base);
    // A path leads elsewhere under a foreign `<base>`, and a user name in a URL can only mislead.
    if ((target.origin !== origin && url.startsWith("/")) || target.username !== "" || target.password !== "")
      return null;
    return target;
  } catch {
    return null;
  }
}
