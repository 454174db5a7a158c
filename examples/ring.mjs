#!/usr/bin/env node
// Rings a user from Node 18 or later and shows what arrives in the inbox, until this ring is there.
// Nothing to install.
//
//   node examples/ring.mjs [USER] [TITLE] [KEY]
//
//   CARILLON_URL     where Carillon answers; http://127.0.0.1:3000
//   CARILLON_TOKEN   a token of the user with the scope notify:send; without it, the local gateway is asked

import { setTimeout as sleep } from 'node:timers/promises';

const base = process.env.CARILLON_URL ?? 'http://127.0.0.1:3000';
// The key names what happened, not when this ran: whoever repeats it gets the first answer, and nobody rings twice.
const [user = 'alice', title = 'Report approved', key = 'report-123-approved'] = process.argv.slice(2);

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

/** Sends once, in as many attempts as it takes. */
async function send(notification, idempotencyKey) {
  for (let attempt = 1; ; attempt += 1) {
    // No answer means unknown, not refused. With the same key, asking again is safe.
    const answer = await call('POST', '/api/notifications/send', notification, {
      'Idempotency-Key': idempotencyKey,
    }).catch((problem) => ({ status: 0, body: problem.message, headers: new Headers() }));
    if (answer.status === 202) return answer.body;
    const mayPass = answer.status === 0 || answer.status === 429 || answer.status >= 500;
    if (!mayPass || attempt === 6) refused(answer);
    const retryAfterMs = Number(answer.headers.get('Retry-After')) * 1000;
    await sleep(Math.max(retryAfterMs, Math.random() * 250 * 2 ** attempt));
  }
}

/** Shows what is new since the last time; a frame that was lost or doubled makes no difference to it. */
async function showNew() {
  const query = inbox.cursor ? `?since=${encodeURIComponent(inbox.cursor)}` : '';
  const answer = await call('GET', `/api/sync${query}`, undefined, inbox.etag ? { 'If-None-Match': inbox.etag } : {});
  if (answer.status === 304) return;
  // Away for too long: all of it again.
  if (answer.status === 410) inbox.cursor = inbox.etag = undefined;
  else if (answer.status !== 200) refused(answer);
  else {
    for (const { id, type, title, readAt } of answer.body.notifications) {
      if (!inbox.shown.has(id) && readAt === null) console.log(`${title} (${type}, ${id})`);
      inbox.shown.add(id);
    }
    inbox.cursor = answer.body.cursor;
    inbox.etag = answer.headers.get('ETag') ?? undefined;
    // What is acknowledged counts as shown and is not offered again.
    await call('POST', '/api/ack', { cursor: inbox.cursor });
    if (answer.body.complete) return;
  }
  await showNew();
}

/**
 * Something that says when to look: a socket, whose every frame is a reason to, or where there is none a clock.
 * Node has a WebSocket from version 22 on. Before, this asks every second, which costs little: the answer is an empty
 * 304 while nothing changed.
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
  // The first ping finds what slipped by while the socket opened, the later ones keep it open.
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
      // Every socket ends, after two hours at the latest. A client that stays opens another; this one soon ends.
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
