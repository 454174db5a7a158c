// The limit of a queue on Redis: a bare stream, without retries, priorities, delays or ids of its own.

import { setTimeout as sleep } from "node:timers/promises";
import { peer } from "../peer-packages.mjs";
import { run } from "../processes.mjs";
import { percentiles } from "../statistics.mjs";
import { payload } from "./bullmq.mjs";

const ENTRIES = 200_000;
const BATCH = 1_000;
const PICKUPS = 300;
const WARM_UP = 20;
const PAUSE_MS = 4;

/** All figures of the queue. */
export async function measure({ redis: { port, url } }) {
  const { Redis } = peer("ioredis");
  const redis = new Redis(url);
  const usedMemory = async () => Number(/used_memory:(\d+)/.exec(await redis.info("memory"))[1]);
  await redis.del("stream");
  await redis.xgroup("CREATE", "stream", "workers", "$", "MKSTREAM");

  const before = await usedMemory();
  const args = ["-p", `${port}`, "--csv", "-q", "-c", "1", "-P", `${BATCH}`, "-n", `${ENTRIES}`];
  const report = await run("redis-benchmark", [...args, "XADD", "stream", "*", "job", JSON.stringify(payload(12_345))]);
  // Calls a second, followed by six latencies; the command before them has commas of its own.
  const enqueued = Number(report.trim().split(",").at(-7).replaceAll('"', ""));
  const redisBytes = ((await usedMemory()) - before) / ENTRIES;

  const beganAt = performance.now();
  for (let taken = 0; taken < ENTRIES; ) {
    const [[, entries]] = await redis.xreadgroup("GROUP", "workers", "one", "COUNT", BATCH, "STREAMS", "stream", ">");
    const ids = entries.map(([id]) => id);
    await redis
      .pipeline()
      .xack("stream", "workers", ...ids)
      .xdel("stream", ...ids)
      .exec();
    taken += ids.length;
  }
  const processed = (ENTRIES / (performance.now() - beganAt)) * 1_000;
  if ((await redis.xlen("stream")) !== 0) throw new Error("entries are left");

  const blocked = redis.duplicate();
  const taken = [];
  for (let n = 0; n < PICKUPS; n++) {
    const reading = blocked.xreadgroup("GROUP", "workers", "one", "COUNT", 1, "BLOCK", 5_000, "STREAMS", "stream", ">");
    await sleep(PAUSE_MS);
    const at = performance.now();
    redis.xadd("stream", "*", "job", `${n}`);
    const [[, [[id, [, job]]]]] = await reading;
    if (job !== `${n}`) throw new Error("another entry than the one that was added");
    if (n >= WARM_UP) taken.push(performance.now() - at);
    await redis.pipeline().xack("stream", "workers", id).xdel("stream", id).exec();
  }
  await redis.del("stream");
  redis.disconnect();
  blocked.disconnect();
  return { enqueued, processed, redisBytes, ...percentiles(taken) };
}
