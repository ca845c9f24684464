import { defineConfig } from "vite";

export default defineConfig({
  build: {
    assetsInlineLimit: 0, // the page's policy allows no data: addresses
    modulePreload: false,
    reportCompressedSize: false,
    target: "es2022",
  },
  server: { proxy: { "^/(?!src|node_modules|@|$)": { target: "http://127.0.0.1:8000", ws: true } } },
});
