import { defineConfig, type Plugin, type UserConfig } from "vite";

/** Ships the style sheets of the components as files too, for pages that link them themselves. */
const styleSheets: Plugin = {
  name: "style-sheets",
  enforce: "post",
  transform(code, id) {
    const [, fileName] = /([^/]+\.css)\?inline$/.exec(id) ?? [];
    if (fileName === undefined) return;
    const [, text] = /^export default (".*")/.exec(code) ?? [];
    if (text === undefined) this.error(`the style sheet ${fileName} is no text`);
    this.emitFile({ type: "asset", fileName, source: JSON.parse(text) });
  },
};

/**
 * The entry `ui` stays what it is in the sources, exports of other files with a "use client" each. For Next each of them
 * is one unit, of which a page downloads everything.
 */
const clientParts: Plugin = {
  name: "client-parts",
  enforce: "pre",
  resolveId(id, importer) {
    if (!importer?.endsWith("/src/ui/index.ts")) return;
    return { id: id === "./components.js" ? "./components.js" : "./chat-ui.js", external: true };
  },
};

// The library: an entry for each environment, with shared chunks.
const config: UserConfig = defineConfig({
  plugins: [styleSheets, clientParts],
  build: {
    // The oldest browsers that have all of ES2022, as the README states. The build rewrites newer syntax, and
    // tsconfig.build.json rejects newer built-ins.
    target: ["chrome98", "edge98", "firefox93", "safari16.4"],
    minify: false,
    cssMinify: true,
    // As written: the sheet has its own fallback for browsers without `light-dark()`, which the build would rewrite.
    cssTarget: ["chrome123", "edge123", "firefox121", "safari17.5"],
    sourcemap: true,
    lib: {
      entry: {
        index: "src/index.ts",
        react: "src/react.ts",
        chat: "src/chat.ts",
        "chat-react": "src/chat-react.ts",
        preferences: "src/preferences.ts",
        server: "src/server.ts",
        ui: "src/ui/index.ts",
        // No entry of the package, but a part of `ui`.
        components: "src/ui/components.ts",
        "chat-ui": "src/chat-ui/index.ts",
        element: "src/element.ts",
        svelte: "src/svelte.ts",
        vue: "src/vue.ts",
      },
      formats: ["es"],
    },
    rolldownOptions: {
      external: ["react", "react/jsx-runtime", "vue"],
      // A chunk of its own: an application that passes no labels loads the English words of groups only on demand.
      output: { codeSplitting: { groups: [{ name: "groupLabels", test: /groupLabels\.ts$/ }] } },
      // "use client" stands at the head of an entry, where the build keeps it, which the tests of the package verify.
      checks: { moduleLevelDirective: false },
    },
  },
});

export default config;
