#!/usr/bin/env node
// Sends a notification to a user from Node 18 or later, and prints what arrives in the inbox until this notification is
// there. It has no dependencies.
//
//   node examples/ring.mjs [USER] [TITLE] [KEY]
//
//   KEY              names the event: runs with the same key send once; by default, each run sends
//   CARILLON_URL     the address of Carillon; default http://127.0.0.1:3000
//   CARILLON_TOKEN   a token of the user with the scope notify:send; default a token from the local gateway

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const base = process.env.CARILLON_URL ?? 'http://127.0.0.1:3000';
// A key that names the event, such as report-123-approved, makes the whole run repeatable. Without one, the key only
// makes the retries of this run safe.
const [user = 'alice', title = 'Report approved', key = randomUUID()] = process.argv.slice(2);

let token = process.env.CARILLON_TOKEN;
token ??= await localToken();
const inbox = { cursor: undefined, etag: undefined, shown: new Set() };
const bell = await openBell();
await showNew();
const sent = await send({ type: 'REPORT_APPROVED', userIds: [user], title }, key);
console.log(`sent ${sent.sendId}`);
while (!inbox.shown.has(sent.notifications[0].id)) {
  await bell.rings();
  await showNew();
}
bell.close();

/** Sends a notification once, in up to six attempts. */
async function send(notification, idempotencyKey) {
  for (let attempt = 1; ; attempt += 1) {
    // Without an answer the outcome is unknown. A retry with the same key is safe.
    const answer = await call('POST', '/api/notifications/send', notification, {
      'Idempotency-Key': idempotencyKey,
    }).catch((problem) => ({ status: 0, body: problem.message, headers: new Headers() }));
    if (answer.status === 202) return answer.body;
    const isTemporary = answer.status === 0 || answer.status === 429 || answer.status >= 500;
    if (!isTemporary || attempt === 6) refused(answer);
    const retryAfterMs = Number(answer.headers.get('Retry-After')) * 1000;
    await sleep(Math.max(retryAfterMs, Math.random() * 250 * 2 ** attempt));
  }
}

/** Prints what is new since the last call. Lost and duplicate frames make no difference, because it syncs. */
async function showNew() {
  const query = inbox.cursor ? `?since=${encodeURIComponent(inbox.cursor)}` : '';
  const answer = await call('GET', `/api/sync${query}`, undefined, inbox.etag ? { 'If-None-Match': inbox.etag } : {});
  if (answer.status === 304) return;
  // The cursor has expired: sync everything again.
  if (answer.status === 410) inbox.cursor = inbox.etag = undefined;
  else if (answer.status !== 200) refused(answer);
  else {
    for (const { id, type, title, readAt } of answer.body.notifications) {
      if (!inbox.shown.has(id) && readAt === null) console.log(`${title} (${type}, ${id})`);
      inbox.shown.add(id);
    }
    inbox.cursor = answer.body.cursor;
    inbox.etag = answer.headers.get('ETag') ?? undefined;
    // Acknowledged notifications count as shown and are not offered again.
    await call('POST', '/api/ack', { cursor: inbox.cursor });
    if (answer.body.complete) return;
  }
  await showNew();
}

/**
 * Resolves `rings()` when it is time to sync: on every frame of a socket, or every second if there is no WebSocket.
 * Node has WebSocket from version 22 on. Polling costs little: the answer is an empty 304 while nothing has changed.
 */
async function openBell() {
  if (!globalThis.WebSocket) return { rings: () => sleep(1000), close: () => {} };

  const ticket = await call('POST', '/api/ws/ticket');
  if (ticket.status !== 201) refused(ticket);
  const socket = new WebSocket(`${ticket.body.url}?ticket=${ticket.body.ticket}`);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error('the socket did not open'));
  });
  // The first ping reveals what was missed while the socket opened; later pings keep the socket open.
  const ping = () => socket.send(JSON.stringify({ action: 'ping' }));
  const pings = [setTimeout(ping, 2000), setInterval(ping, 60_000)];

  let rung = false;
  let wake = () => {};
  socket.onmessage = socket.onclose = () => {
    rung = true;
    wake();
  };
  return {
    async rings() {
      // Every socket ends after two hours at the latest. A long-lived client would open another; this one only polls.
      if (socket.readyState !== WebSocket.OPEN) await sleep(1000);
      else if (!rung) await new Promise((resolve) => (wake = resolve));
      rung = false;
    },
    close() {
      pings.forEach(clearTimeout);
      socket.close();
    },
  };
}

async function localToken() {
  const query = new URLSearchParams({ sub: user, scope: 'notify:send' });
  const answer = await call('GET', `/_gateway/token?${query}`);
  return answer.status === 200 ? answer.body.token : refused(answer);
}

async function call(method, path, body, headers = {}) {
  const answer = await fetch(base + path, {
    method,
    headers: {
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text === '' ? undefined : JSON.parse(text) };
}

function refused({ status, body }) {
  console.error(`refused with ${status}: ${JSON.stringify(body)}`);
  process.exit(1);
}
