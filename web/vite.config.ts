import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

// `make dev` and `npm run dev` together: the API on 8000, the app on 5173 with the API behind it.
const api = process.env['TUNIX_RT_URL'] ?? 'http://127.0.0.1:8000'

export default defineConfig({
  plugins: [react()],
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
