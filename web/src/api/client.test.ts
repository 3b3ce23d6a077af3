import { afterEach, expect, test, vi } from 'vitest'

import { address, get, Problem } from './client'

afterEach(() => vi.unstubAllGlobals())

test('an address has its names filled and its query written', () => {
  expect(address('/api/tunix/runs/{id}/artifacts/{path}', { at: { id: 'a b', path: 'model/x y.json' } })).toBe(
    '/api/tunix/runs/a%20b/artifacts/model/x%20y.json',
  )
  expect(address('/api/x', { query: { status: ['a', 'b'], q: '', n: 0, none: null } })).toBe('/api/x?status=a&status=b&n=0')
})

test("a refusal carries the server's detail, hint and request id", async () => {
  const body = { title: 'Not found', status: 404, detail: 'no run', hint: 'list them', code: 'not_found', request_id: 'r1' }
  vi.stubGlobal('fetch', () => Promise.resolve(new Response(JSON.stringify(body), { status: 404 })))
  const error = await get('/api/health').catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(Problem)
  expect(error).toMatchObject({ status: 404, detail: 'no run', hint: 'list them', requestId: 'r1', code: 'not_found' })
})

test('a server that does not answer is a problem that says what to do', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')))
  await expect(get('/api/health')).rejects.toMatchObject({ status: 0, code: 'unreachable' })
})

test('an answer that is not JSON is a problem too', async () => {
  vi.stubGlobal('fetch', () => Promise.resolve(new Response('<html>', { status: 502, statusText: 'Bad Gateway' })))
  await expect(get('/api/health')).rejects.toMatchObject({ status: 502, detail: 'The server answered 502 Bad Gateway.' })
})
