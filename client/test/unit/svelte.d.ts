declare module "*.svelte" {
  import type { Component } from "svelte";
  import type { Client } from "../../src/index.js";

  const component: Component<{ client: Client }>;
  export default component;
}

declare module "*.svelte?server" {
  export { default } from "*.svelte";
}
