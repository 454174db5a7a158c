// Who is looking, and where the token comes from: the local gateway signs one for any name; elsewhere it is pasted.

const KEPT_TOKEN = "carillon:token";
const KEPT_LOCALLY = "carillon:local-token";
const SCOPE = "notify:send notify:admin";

/** The local gateway is not there to sign a token. */
export class NoTokenHere extends Error {}

/**
 * Asks the local gateway for a token. While it does not answer, the tab's last one for the user does: whether anything
 * else answers is the client's to find out.
 */
export async function localToken(user: string): Promise<string> {
  const query = new URLSearchParams({ sub: user, scope: SCOPE });
  let answer: Response;
  try {
    answer = await fetch(`/_gateway/token?${query}`, { cache: "no-store" });
  } catch (problem) {
    const last = kept(KEPT_LOCALLY);
    if (last !== null && subjectOf(last) === user) return last;
    throw problem;
  }
  if (answer.status === 404) throw new NoTokenHere("nobody signs tokens here");
  if (!answer.ok) throw new Error(`the gateway refused a token with ${answer.status}`);
  const { token } = (await answer.json()) as { token: string };
  keep(KEPT_LOCALLY, token);
  return token;
}

/** Whom a token speaks for; null where it is no JWT. The server checks it, this only names it. */
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
export const keptToken = (): string | null => kept(KEPT_TOKEN);

export const keepToken = (token: string | null): void => keep(KEPT_TOKEN, token);

// Storage may be forbidden; then a token lives as long as the page does.
function kept(name: string): string | null {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

function keep(name: string, token: string | null): void {
  try {
    if (token === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, token);
  } catch {
    // Not kept, which the form says may happen.
  }
}

/** The user that the address names. */
export function userInAddress(): string {
  return new URLSearchParams(location.search).get("user")?.normalize("NFC") || "alice";
}

/** The address of the page as another user. */
export function addressOf(user: string): string {
  const address = new URL(location.href);
  address.searchParams.set("user", user);
  return address.href;
}
