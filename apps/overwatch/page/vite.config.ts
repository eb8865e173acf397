import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

const built = fileURLToPath(
  new URL('../../../packages/esper-karn/src/esper_karn/web/page', import.meta.url),
)

/** The server of `uv run esper-overwatch web`, for `npm run dev`. */
const server = process.env.OVERWATCH_SERVER ?? 'http://127.0.0.1:8080'

export default defineConfig({
  plugins: [vue()],
  build: {
    outDir: built,
    emptyOutDir: true,
    // Inlined images would be data: addresses, which the server's policy forbids.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    port: 5173,
    strictPort: true,
    proxy: {
      // The printed link, with this port in place of its own: the server trades its token for a cookie.
      '^/[^?]*[?].*token=': { target: server, changeOrigin: true },
      '/api': { target: server, changeOrigin: true },
      '/ws': { target: server, ws: true, changeOrigin: true, headers: { origin: server } },
    },
  },
  test: { environment: 'happy-dom', include: ['tests/unit/**/*.test.ts'] },
})
