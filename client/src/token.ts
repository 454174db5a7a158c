// Reads the claims of a JWT. Verifying it is left to the server.

/** A token and the claims that the client needs. */
export interface Token {
  readonly text: string;
  readonly userId: string | null;
  /** When it expires, in milliseconds since 1970. */
  readonly expiresMs: number | null;
}

/** Reads a token. Text that is not a JWT has no user, so nothing is cached for it. */
export function readToken(text: string): Token {
  let claims: { sub?: unknown; exp?: unknown } = {};
  try {
    const bytes = atob((text.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/"));
    claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)))) ?? {};
  } catch {
    // The server reports what is wrong with the token.
  }
  const { sub, exp } = claims;
  return {
    text,
    userId: typeof sub === "string" ? sub : null,
    expiresMs: typeof exp === "number" ? exp * 1_000 : null,
  };
}
