// Answers of the fake server.

export function json(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
}

export function refusal(status: number, code: string, retryAfterMs?: number): Response {
  return json(status, { error: { code, message: code, requestId: "q1", ...(retryAfterMs && { retryAfterMs }) } });
}

export function html(status: number): Response {
  return new Response("<!doctype html><title>Sign in</title>", { status, headers: { "content-type": "text/html" } });
}
