#!/usr/bin/env node
// Talks with another user, from Node 18 or later: says each line of the input, and prints what either says. Run it in one
// terminal as one user and in another as the other, who accepts the chat by asking for it too. It has no dependencies.
//
//   node examples/talk.mjs [ME] [OTHER]
//
//   CARILLON_URL     the address of Carillon; default http://127.0.0.1:3000
//   CARILLON_TOKEN   a token of ME; default a token from the local gateway

import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const base = process.env.CARILLON_URL ?? 'http://127.0.0.1:3000';
const [me = 'alice', other = 'bob'] = process.argv.slice(2);

let token = process.env.CARILLON_TOKEN;
token ??= (await repeat('GET', `/_gateway/token?${new URLSearchParams({ sub: me })}`)).token;
// Two users have one chat, whoever asks first.
const chat = await repeat('POST', '/api/chats', { kind: 'direct', participantIds: [other] });
const path = `/api/chats/${chat.id}`;
let shown = 0;
let showing = Promise.resolve();
const close = await openBell();
await showNew();
for await (const line of createInterface({ input: process.stdin })) {
  // The client id makes it one message however often it is sent.
  if (line.trim() !== '') await repeat('POST', `${path}/messages`, { clientId: randomUUID(), body: line });
}
await showNew();
close();

/** Prints what is new, one call after the other. Lost, duplicate and overtaken frames make no difference. */
function showNew() {
  showing = showing.then(show).catch((problem) => console.error(problem.message));
  return showing;
}

async function show() {
  let isComplete = false;
  while (!isComplete) {
    const page = await repeat('GET', `${path}/messages?after=${shown}&limit=200`);
    for (const { seq, senderId, body } of page.items) {
      console.log(`${senderId}: ${body}`);
      shown = seq;
    }
    // Own messages are read by being written.
    if (page.items.some(({ senderId }) => senderId !== me)) await repeat('POST', `${path}/read`, { seq: shown });
    isComplete = page.complete;
  }
}

/**
 * Calls `showNew` on every message that a socket tells of, and every minute; or every second if there is no WebSocket, which
 * Node has from version 22 on. Returns how to stop that.
 */
async function openBell() {
  if (!globalThis.WebSocket) {
    const timer = setInterval(showNew, 1000);
    return () => clearInterval(timer);
  }
  const ticket = await repeat('POST', '/api/ws/ticket');
  const socket = new WebSocket(`${ticket.url}?ticket=${ticket.ticket}`);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error('the socket did not open'));
  });
  // Pings keep the socket open; looking as often, and once after it opened, finds what a push has lost. A socket ends after
  // two hours at the latest, and a long-lived client would open another.
  const look = () => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ action: 'ping' }));
    showNew();
  };
  const timers = [setTimeout(look, 2000), setInterval(look, 60_000)];
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.chatId === chat.id && ['message', 'fetch'].includes(frame.type) && frame.seq > shown) showNew();
  };
  return () => {
    timers.forEach(clearTimeout);
    socket.close();
  };
}

/** Calls Carillon, in up to six attempts. Without an answer the outcome is unknown; all that is called here may be repeated. */
async function repeat(method, path, body) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await call(method, path, body).catch((problem) => ({
      status: 0,
      body: problem.message,
      headers: new Headers(),
    }));
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    const isTemporary = answer.status === 0 || answer.status === 429 || answer.status >= 500;
    if (!isTemporary || attempt === 6) {
      console.error(`refused with ${answer.status}: ${JSON.stringify(answer.body)}`);
      process.exit(1);
    }
    const retryAfterMs = Number(answer.headers.get('Retry-After')) * 1000;
    await sleep(Math.max(retryAfterMs, Math.random() * 250 * 2 ** attempt));
  }
}

async function call(method, path, body) {
  const answer = await fetch(base + path, {
    method,
    headers: {
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text === '' ? undefined : JSON.parse(text) };
}
