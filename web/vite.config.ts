import { readFileSync } from 'node:fs'
import react from '@vitejs/plugin-react'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

// `make dev` and `npm run dev` together: the API on 8000, the app on 5173 with the API behind it. The API compares a
// request's Origin with its Host, so Host must stay as the browser sent it.
const api = { target: process.env['TUNIX_RT_URL'] ?? 'http://127.0.0.1:8000', changeOrigin: false }

// Swagger UI, as its authors built it, for the page /docs (public/docs.html).
const swaggerUI: Plugin = {
  name: 'swagger-ui',
  apply: 'build',
  generateBundle() {
    for (const name of ['swagger-ui-bundle.js', 'swagger-ui-bundle.js.LICENSE.txt', 'swagger-ui.css', 'LICENSE', 'NOTICE']) {
      const source = readFileSync(new URL(`node_modules/swagger-ui-dist/${name}`, import.meta.url))
      this.emitFile({ type: 'asset', fileName: `swagger-ui/${name}`, source })
    }
  },
}

export default defineConfig({
  plugins: [react(), swaggerUI],
  build: {
    outDir: '../src/tunix_rt/web/dist',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0, // the content security policy lets nothing in but files
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/api': api, '/openapi.json': api, '/metrics': api } },
  test: { environment: 'happy-dom', include: ['src/**/*.test.{ts,tsx}'], restoreMocks: true, setupFiles: 'vitest.setup.ts', testTimeout: 120_000 },
})
