// The user and the token. A local gateway signs a token for any user; without one the token is pasted.

const PASTED_TOKEN_KEY = "carillon:token";
/** Begins the name of the last token of each user. */
const LOCAL_TOKEN_KEY = "carillon:local-token:";
const SCOPE = "notify:send notify:admin";

/** There is no local gateway that signs tokens. */
export class NoTokenService extends Error {}

/**
 * Asks the local gateway for a token. While the gateway does not respond, returns the last token of this tab and user,
 * and leaves it to the client to find out whether the API responds.
 */
export async function localToken(user: string): Promise<string> {
  const query = new URLSearchParams({ sub: user, scope: SCOPE });
  let response: Response;
  try {
    response = await fetch(`/_gateway/token?${query}`, { cache: "no-store" });
  } catch (thrown) {
    const last = load(LOCAL_TOKEN_KEY + user);
    if (last !== null) return last;
    throw thrown;
  }
  if (response.status === 404) throw new NoTokenService("this server does not sign tokens");
  if (!response.ok) throw new Error(`the gateway refused to sign a token with status ${response.status}`);
  const { token } = (await response.json()) as { token: string };
  store(LOCAL_TOKEN_KEY + user, token);
  return token;
}

/** The user of a token, or `null` if it is not a JWT. The token is not verified; that is left to the server. */
export function subjectOf(token: string): string | null {
  try {
    const payload = token.split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown };
    return typeof sub === "string" && sub !== "" ? sub : null;
  } catch {
    return null;
  }
}

/** The token that was pasted into this tab. */
export const storedToken = (): string | null => load(PASTED_TOKEN_KEY);

export const storeToken = (token: string | null): void => store(PASTED_TOKEN_KEY, token);

// If storage is forbidden, a token lasts as long as the page.
function load(name: string): string | null {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

function store(name: string, token: string | null): void {
  try {
    if (token === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, token);
  } catch {
    // The token is not stored, and has to be pasted again after a reload.
  }
}

/** The user named in the page's address. */
export function userInAddress(): string {
  return new URLSearchParams(location.search).get("user")?.normalize("NFC") || "alice";
}

/** The page's address for another user. */
export function addressOf(user: string): string {
  const address = new URL(location.href);
  address.searchParams.set("user", user);
  return address.href;
}
