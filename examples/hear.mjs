#!/usr/bin/env node
// Prints what Carillon tells other programs on Redis, from Node 20 or later: accepted notifications, messages of chats,
// emitted events, and who comes online and goes offline. Ids alone, at most once, and only what happens while it runs.
//
//   npm install redis
//   node examples/hear.mjs
//
//   REDIS_URL          the Redis of Carillon; default redis://127.0.0.1. Several may be listed with commas between
//   REDIS_KEY_PREFIX   the prefix of its keys and channels; default carillon

import { createClient } from 'redis';

const prefix = process.env.REDIS_KEY_PREFIX ?? 'carillon';
const urls = (process.env.REDIS_URL ?? 'redis://127.0.0.1').split(',');

// Of several instances, each tells its own part, also while another one is away.
await Promise.all(urls.map(async (url) => {
  const client = createClient({ url: url.trim() });
  // The client connects again by itself, and subscribes to the same channels. What happens meanwhile is not repeated.
  client.on('error', (error) => console.error(error.message));
  await client.connect();
  await client.pSubscribe([`${prefix}:notification-events`, `${prefix}:channel:*`], (body, channel) => {
    console.log(channel.slice(prefix.length + 1), JSON.parse(body));
  });
  console.log('listening');
}));
