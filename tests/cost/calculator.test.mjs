// The calculator of docs/cost.md, and that the page shows what it says: `node --test tests/cost/calculator.test.mjs`.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { SIZES } from "../../deploy/cost/deployment.mjs";
import { data, estimate } from "../../deploy/cost/estimate.mjs";
import { page, written } from "../../deploy/cost/page.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const prints = (...args) => promisify(execFile)("node", [`${root}deploy/cost/main.mjs`, ...args]);
const line = ({ lines }, name) => lines.find((each) => each.name === name);

test("docs/cost.md shows what the calculator says", () => {
  assert.equal(readFileSync(page, "utf8"), written(), "run: node deploy/cost/main.mjs --write");
});

test("docs/cost.md tells the date of the prices, and how many are confirmed", () => {
  const text = readFileSync(page, "utf8");
  const prices = Object.values(data.prices);
  const confirmed = prices.filter(({ checked }) => checked !== null);
  assert.ok(text.includes(`list prices of ${data.region} on ${data.date}`));
  assert.ok(text.includes(`${confirmed.length} of ${prices.length} are confirmed`), `${confirmed.length} are`);
});

test("a confirmed price names pages and their dates", () => {
  for (const [name, { checked }] of Object.entries(data.prices)) {
    if (checked === null) continue;
    assert.ok(checked.length > 0, name);
    for (const { on, at } of checked) {
      assert.match(on, /^\d{4}(-\d\d(-\d\d)?)?$/, name);
      assert.ok(on <= data.date, name);
      assert.match(at, /^https:\/\//, name);
    }
  }
});

test("the sizes are those of deploy/*.toml", () => {
  const [small, medium, large] = Object.keys(SIZES).map((size) => estimate({ size }));
  assert.deepEqual([small.nodes, medium.nodes, large.nodes], [1, 2, 6]);
  assert.deepEqual([small.instances, medium.instances, large.instances], [1, 2, 2]);
  assert.deepEqual([small.parameters.PingEveryMs, large.parameters.PingEveryMs], ["60000", "240000"]);
  assert.deepEqual([small.memoryGb, small.secrets], [0.25, 5]);
  for (const { size, users } of [small, medium, large]) {
    const [, stated] = /^# ([\d,]+) daily users/m.exec(readFileSync(`${root}deploy/${size}.toml`, "utf8"));
    assert.equal(Number(stated.replaceAll(",", "")), users);
  }
});

test("a bill is the sum of quantities times prices", () => {
  const one = estimate({ size: "medium" });
  assert.equal(line(one, "Socket minutes").quantity, 10_000 * 2 * 60 * 30.4);
  assert.equal(line(one, "Socket minutes").usd.toFixed(6), ((10_000 * 2 * 60 * 30.4 * 0.25) / 1e6).toFixed(6));
  assert.equal(line(one, "NAT gateway").usd.toFixed(6), (0.045 * 729.6).toFixed(6));
  assert.equal(
    one.usd,
    one.lines.reduce((sum, { usd }) => sum + usd, 0),
  );
  const logs = line(estimate({ size: "large", users: 3e6 }), "Logs");
  assert.ok(logs.quantity > 10_240 && logs.quantity < 30_720);
  assert.equal(logs.usd.toFixed(4), (5_120 + (logs.quantity - 10_240) * 0.25).toFixed(4));
  // Beyond the first billion, messages cost less.
  const much = line(estimate({ size: "large" }), "Socket messages");
  assert.ok(much.quantity > 1e9);
  assert.equal(much.usd.toFixed(4), (1_000 + ((much.quantity - 1e9) / 1e6) * 0.8).toFixed(4));
});

test("assumptions, parameters and prices can be changed", () => {
  const before = estimate({ size: "large" });
  const often = estimate({ size: "large", parameters: { PingEveryMs: "60000" } });
  // Fifteen visible pings an hour become sixty, each with its reply.
  assert.equal(Math.round(often.month.frames - before.month.frames), 1e6 * 0.5 * 30.4 * 45 * 2);
  const twice = estimate({ size: "large", assumptions: { notificationsPerUser: 20 } });
  assert.equal(twice.month.notifications, 2 * before.month.notifications);
  assert.equal(line(estimate({ size: "small", prices: { natHours: 1 } }), "NAT gateway").usd.toFixed(6), "729.600000");
  const own = estimate({ size: "small", parameters: { Database: "none", Redis: "none" } });
  for (const name of ["Database", "Database storage", "Database I/O", "Valkey", "NAT gateway", "Its traffic"])
    assert.equal(line(own, name).usd, 0, name);
  const silent = estimate({ size: "small", parameters: { MetricsNamespace: "" } });
  for (const name of ["Metrics", "Dashboard"]) assert.equal(line(silent, name).usd, 0, name);
  const rds = estimate({ size: "small", parameters: { Database: "rds" } });
  assert.deepEqual([line(rds, "Database").price, line(rds, "Database I/O").usd], ["db.t4g.micro", 0]);
  assert.equal(line(rds, "Database storage").quantity, 20);
});

test("event streams are bounded by MaxStreams", () => {
  const { month } = estimate({ size: "small", assumptions: { streamShare: 1 }, users: 1e6 });
  assert.equal(Math.round((month.streams * 14) / 60), Math.round(20 * 30.4 * 24));
});

test("every assumption and every price makes a difference", () => {
  const of = (changes) => {
    const sizes = Object.keys(SIZES).map((size) => estimate({ size, ...changes }).usd);
    return [...sizes, estimate({ size: "small", parameters: { Database: "rds" }, ...changes }).usd].join();
  };
  for (const name of Object.keys(data.assumptions)) assert.notEqual(of({ assumptions: { [name]: 7 } }), of({}), name);
  for (const name of Object.keys(data.prices)) assert.notEqual(of({ prices: { [name]: 7 } }), of({}), name);
});

test("the command takes options, and says what is wrong with them", async () => {
  const { stdout } = await prints(
    "--users",
    "250000",
    "--notifications-per-user",
    "12",
    "--price",
    "natHours=0.05",
    "--json",
  );
  const [found, ...others] = JSON.parse(stdout);
  assert.deepEqual([found.size, found.users, found.is.notificationsPerUser, others.length], ["large", 250_000, 12, 0]);
  assert.match((await prints()).stdout, /^a month +small: 100 users +medium: 10,000 users +large: 1 million users\n/);
  const { stdout: prices } = await prints("--prices");
  assert.match(prices, /^price +USD +for +where to check +checked\n/);
  assert.match(prices, /^acuHours +0\.12 +ACU-hours.* +rds aurora +aws, \d{4}-\d\d-\d\d/m);
  assert.ok(!prices.includes("https://"));
  for (const [args, told] of [
    [["--users", "many"], /users must be a number from 0, is many/],
    [["--size", "huge"], /--size must be small, medium, large/],
    [["--set", "Colour=red"], /no template has the parameter Colour/],
    [["--set", "Redis"], /--set must be NAME=VALUE, is Redis/],
    [["--price", "gold=1"], /docs\/cost.json has no price gold/],
    [["--set", "RedisNodeType=cache.m7g.large"], /docs\/cost.json has no price cache.m7g.large/],
    [["--colour"], /Unknown option '--colour'/],
  ]) {
    await assert.rejects(prints(...args), ({ code, stderr }) => code === 64 && told.test(stderr), `${args}`);
  }
});
