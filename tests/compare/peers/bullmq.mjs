// BullMQ, one process with its queue and its worker, for the figures of the queue.

import { setTimeout as sleep } from "node:timers/promises";
import { Deliveries } from "../deliveries.mjs";
import { peer } from "../peer-packages.mjs";
import { cpuEach, meter } from "../processes.mjs";
import { percentiles } from "../statistics.mjs";

const BATCH = 1_000;
const BATCHES = 20;
const CONCURRENCY = 50;
const PICKUPS = 300;
const WARM_UP = 20;
const PAUSE_MS = 4;
/** 222 bytes as JSON with a number of up to five digits. */
export const payload = (n) => ({
  userId: "user-12345",
  type: "chat",
  title: "New message",
  body: "x".repeat(120),
  data: { chatId: "abc123", n },
});

/** All figures of the queue. */
export async function measure({ redis }) {
  const { Queue, Worker } = peer("bullmq");
  const connection = { host: "127.0.0.1", port: redis.port, maxRetriesPerRequest: null };
  const queue = new Queue("compare", { connection });
  await queue.waitUntilReady();
  const client = new (peer("ioredis").Redis)(redis.url);
  const usedMemory = async () => Number(/used_memory:(\d+)/.exec(await client.info("memory"))[1]);
  const processes = { redis: [redis.pid] };
  const batch = (n) =>
    Array.from({ length: BATCH }, (_, k) => ({
      name: "n",
      data: payload(n * BATCH + k),
      opts: { removeOnComplete: true },
    }));
  await queue.addBulk(batch(0));
  await queue.obliterate({ force: true });

  const before = await usedMemory();
  const [adding, addedAt] = [meter(processes), performance.now()];
  for (let n = 0; n < BATCHES; n++) await queue.addBulk(batch(n));
  const addingMs = performance.now() - addedAt;
  const count = BATCH * BATCHES;
  const enqueuedCpuUs = cpuEach(adding(), count);
  const redisBytes = ((await usedMemory()) - before) / count;

  const done = new Deliveries();
  let picked = (n) => done.arrive(n);
  const startWorker = (concurrency) =>
    new Worker(queue.name, async (job) => picked(job.data.data.n), { connection, concurrency });
  const [processing, beganAt] = [meter(processes), performance.now()];
  const worker = startWorker(CONCURRENCY);
  await done.reach(count);
  const ms = performance.now() - beganAt;
  const processedCpuUs = cpuEach(processing(), count);
  await done.areExactly(Array.from({ length: count }, (_, n) => n));
  await worker.close();

  const idle = startWorker(1);
  await idle.waitUntilReady();
  await sleep(300);
  const taken = [];
  for (let n = 0; n < PICKUPS; n++) {
    const started = new Promise((resolve) => {
      picked = resolve;
    });
    const at = performance.now();
    await queue.add("n", payload(n), { removeOnComplete: true });
    if ((await started) !== n) throw new Error("another job than the one that was added");
    if (n >= WARM_UP) taken.push(performance.now() - at);
    await sleep(PAUSE_MS);
  }
  await idle.close();
  await queue.obliterate({ force: true });
  await queue.close();
  client.disconnect();
  const rate = (taken) => (count / taken) * 1_000;
  const cpuUs = { enqueued: enqueuedCpuUs, processed: processedCpuUs };
  return { enqueued: rate(addingMs), processed: rate(ms), redisBytes, ...percentiles(taken), cpuUs };
}
