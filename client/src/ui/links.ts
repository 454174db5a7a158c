// Decides which links of a notification are offered. An `actionUrl` comes from the network, and may be anything.

/** A link that is safe to follow. */
export interface Link {
  readonly href: string;
  /** Whether it leads to another origin. */
  readonly external: boolean;
}

/** Allows a path on the page's own origin and an absolute https URL, and nothing else. */
export function linkOf(url: unknown): Link | null {
  // Browsers treat "/\" as "//", and remove tabs and line breaks before they parse a URL.
  if (typeof url !== "string" || /[\s\p{C}]/u.test(url) || !/^(\/(?![/\\])|https:\/\/[^/\\])/i.test(url)) return null;
  try {
    const { origin } = location;
    const target = new URL(url, document.baseURI);
    const external = target.origin !== origin;
    // A path leads elsewhere under a foreign `<base>`, and a user name in a URL can only mislead.
    if ((external && url.startsWith("/")) || target.username !== "" || target.password !== "") return null;
    return { href: url, external };
  } catch {
    return null;
  }
}
