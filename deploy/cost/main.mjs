#!/usr/bin/env node
// What a month of Carillon costs on AWS: from docs/cost.json, deploy/*.toml and the templates. docs/cost.md has its tables.
//
//   node deploy/cost/main.mjs                                    the three sizes
//   node deploy/cost/main.mjs --users 250000 --notifications-per-user 12
//   node deploy/cost/main.mjs --size small --set Database=rds    a parameter of the size or of the templates
//   node deploy/cost/main.mjs --price natHours=0.052             a price of docs/cost.json
//   node deploy/cost/main.mjs --prices                           the prices, and who confirms each of them
//   node deploy/cost/main.mjs --json                             all figures, as JSON
//   node deploy/cost/main.mjs --write                            puts the tables into docs/cost.md

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { SIZES } from "./deployment.mjs";
import { data, estimate } from "./estimate.mjs";
import { page, written } from "./page.mjs";
import { billTable, busyTable, monthTable, option, priceTable, printed } from "./tables.mjs";

const names = Object.keys(data.assumptions);

try {
  main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 64;
}

function main() {
  const { values } = parseArgs({
    options: {
      users: { type: "string" },
      size: { type: "string" },
      set: { type: "string", multiple: true, default: [] },
      price: { type: "string", multiple: true, default: [] },
      prices: { type: "boolean" },
      json: { type: "boolean" },
      write: { type: "boolean" },
      ...Object.fromEntries(names.map((name) => [option(name), { type: "string" }])),
    },
  });
  if (values.write) return writeFileSync(page, written());
  if (values.prices) return console.log(printed(priceTable()));
  if (values.size && !SIZES[values.size]) throw new Error(`--size must be ${Object.keys(SIZES).join(", ")}`);
  const given = names.filter((name) => values[option(name)] !== undefined);
  const changes = {
    assumptions: Object.fromEntries(given.map((name) => [name, figure(option(name), values[option(name)])])),
    prices: Object.fromEntries(
      values.price.map((price) => pair("--price", price)).map(([n, usd]) => [n, figure(n, usd)]),
    ),
    parameters: Object.fromEntries(values.set.map((parameter) => pair("--set", parameter))),
  };
  const users = values.users && figure("users", values.users);
  const sizes = values.size || users ? [values.size] : Object.keys(SIZES);
  const estimates = sizes.map((size) => estimate({ users, size, ...changes }));
  if (values.json) return console.log(JSON.stringify(estimates, null, 2));
  console.log([monthTable, busyTable, billTable].map((table) => printed(table(estimates))).join("\n\n"));
}

function figure(name, value) {
  const found = Number(value);
  if (value === "" || !(found >= 0)) throw new Error(`${name} must be a number from 0, is ${value}`);
  return found;
}

function pair(name, value) {
  const [, left, right] = /^(\S+?)=(.*)$/.exec(value) ?? [];
  if (!left) throw new Error(`${name} must be NAME=VALUE, is ${value}`);
  return [left, right];
}
