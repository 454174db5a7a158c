// Unsigned tokens with a user and an expiry. The fake server does not verify signatures.

const part = (claims: object): string =>
  btoa(JSON.stringify(claims)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const claimsOf = (token: string): { sub: string; exp: number } =>
  JSON.parse(atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")));

export function tokenOf(sub: string, expiresMs: number = Date.now() + 3_600_000): string {
  return `${part({ alg: "HS256" })}.${part({ sub, exp: Math.floor(expiresMs / 1_000) })}.x`;
}

export function subOf(token: string): string {
  return claimsOf(token).sub;
}

export function expiryOf(token: string): number {
  return claimsOf(token).exp * 1_000;
}
