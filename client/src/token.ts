// What a JWT says of itself. It is not verified here: that is the server's part.

/** A token and what the client needs to know of it. */
export interface Token {
  readonly text: string;
  readonly userId: string | null;
  /** When it ends, in milliseconds since 1970. */
  readonly endsMs: number | null;
}

/** Reads a token. One that is no JWT has no user, so nothing is kept for it. */
export function readToken(text: string): Token {
  let claims: { sub?: unknown; exp?: unknown } = {};
  try {
    const bytes = atob((text.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/"));
    claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)))) ?? {};
  } catch {
    // The server will say what is wrong with it.
  }
  const { sub, exp } = claims;
  return {
    text,
    userId: typeof sub === "string" ? sub : null,
    endsMs: typeof exp === "number" ? exp * 1_000 : null,
  };
}
