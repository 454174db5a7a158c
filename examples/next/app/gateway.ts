export const baseUrl = process.env.CARILLON_URL ?? "http://127.0.0.1:3000";

// Your back end signs tokens itself, with `JWT_SECRET`; the local gateway does so for trying things out.
export async function tokenOf(user: string, scope = ""): Promise<string> {
  const answer = await fetch(`${baseUrl}/_gateway/token?${new URLSearchParams({ sub: user, scope })}`);
  return (await answer.json()).token;
}
