// Unsigned tokens with a user and an expiry. The fake server does not verify signatures.

const part = (claims: object): string => Buffer.from(JSON.stringify(claims)).toString("base64url");

export function tokenOf(sub: string, expiresMs: number = Date.now() + 3_600_000): string {
  return `${part({ alg: "HS256" })}.${part({ sub, exp: Math.floor(expiresMs / 1_000) })}.x`;
}

export function subOf(token: string): string {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()).sub;
}

export function expiryOf(token: string): number {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()).exp * 1_000;
}
