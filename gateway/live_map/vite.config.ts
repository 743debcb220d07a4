import { defineConfig } from "vitest/config";

// `npm run dev` serves the page from its sources and passes everything else on to a gateway that runs here.
const gateway = "http://127.0.0.1:8000";

export default defineConfig({
  base: "./",
  build: {
    target: "es2022",
    // MapLibre and deck.gl are big and come from the same origin; the warning says nothing new.
    chunkSizeWarningLimit: 4096,
    // The base map stays a file of its own, fetched after the page is up.
    assetsInlineLimit: 0,
  },
  server: { proxy: { "/v1": { target: gateway, ws: true } } },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
