import { QueryClient } from '@tanstack/react-query'
import { afterEach, expect, test, vi } from 'vitest'

import { Live, renewer, takeRun, type RunRow } from './live'
import type { ServerEvent } from './sse'

const PATIENCE = { timeout: 60_000 }

afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

const row = (run_id: string, status: string, step = 0) => ({ run_id, status, progress: { step, total_steps: 9, eta_seconds: null } }) as unknown as RunRow

function stream(...parts: string[]): Response {
  const encoder = new TextEncoder()
  return new Response(
    new ReadableStream({
      start(controller) {
        for (const part of parts) controller.enqueue(encoder.encode(part))
        controller.close()
      },
    }),
  )
}

test('a row is brought up to date in every list that shows it, and lists are asked again only when a state changed', () => {
  const client = new QueryClient()
  const key = ['/api/tunix/runs', '/api/tunix/runs?limit=9']
  client.setQueryData(key, { data: [row('a', 'running', 1), row('b', 'completed')], pagination: {} })
  expect(takeRun(client, row('a', 'running', 2))).toEqual([])
  expect(client.getQueryData<{ data: RunRow[] }>(key)?.data.map((each) => each.progress?.step)).toEqual([2, 0])
  expect(takeRun(client, row('a', 'completed', 9))).toEqual(['runs', 'ended'])
  expect(takeRun(client, row('new', 'pending'))).toEqual(['runs'])
})

test('however often something changes, it is asked for again one round after the other', async () => {
  const client = new QueryClient()
  const asked: unknown[] = []
  let answer = () => {}
  vi.spyOn(client, 'invalidateQueries').mockImplementation((filters) => {
    asked.push(filters?.queryKey?.[0])
    return new Promise((resolve) => (answer = resolve))
  })
  const renew = renewer(client, 0)
  for (let times = 0; times < 100; times++) renew(['datasets'])
  expect(asked).toEqual(['/api/datasets'])
  answer()
  await vi.waitFor(() => expect(asked).toEqual(['/api/datasets', '/api/datasets']), PATIENCE)
  answer()
  renew(['traces', 'unknown'])
  await vi.waitFor(() => expect(asked).toEqual(['/api/datasets', '/api/datasets', '/api/traces', '/api/traces/{id}', '/api/traces/source-counts']), PATIENCE)
})

test('a stream that breaks off comes back with the number of the last piece, and says so', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const addresses: string[] = []
  let since = 0
  vi.stubGlobal('fetch', (url: string, { signal }: { signal: AbortSignal }) => {
    addresses.push(url)
    if (addresses.length === 2) return Promise.reject(new TypeError('Failed to fetch'))
    if (addresses.length > 3) return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('stopped'))))
    return Promise.resolve(stream(`id: ${addresses.length}\nevent: log\ndata: {"se`, `q":${addresses.length}}\n\nevent: run\ndata: {}\n\n`))
  })
  const live = new Live()
  const others: ServerEvent[] = []
  let returned = 0
  live.onEvents((events) => others.push(...events))
  live.onReturn(() => (returned += 1))
  live.follow({ run: 'r', since: () => since, take: (events) => (since = Number(events.at(-1)?.id)) })
  const stop = live.start()
  while (addresses.length < 4) await vi.advanceTimersByTimeAsync(1_000)
  stop()
  expect(addresses).toEqual(['/api/events?run=r', '/api/events?run=r&since_seq=1', '/api/events?run=r&since_seq=1', '/api/events?run=r&since_seq=3'])
  expect([others.length, returned, live.state]).toEqual([2, 1, 'off'])
})
