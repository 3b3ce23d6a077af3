import { QueryClientProvider } from '@tanstack/react-query'
import { act, renderHook, waitFor } from '@testing-library/react'
import type { ReactNode } from 'react'
import { afterEach, expect, test, vi } from 'vitest'

import { queryClient } from './hooks'
import { useList, WINDOW_PAGES } from './list'

const ALL = 3_456
const LIMIT = 100
const client = queryClient()

afterEach(() => {
  client.clear()
  vi.unstubAllGlobals()
})

function served() {
  const asked: number[] = []
  vi.stubGlobal('fetch', (url: string) => {
    const from = Number(new URL(url, 'http://here').searchParams.get('cursor') ?? 0)
    asked.push(from)
    const rows = Array.from({ length: Math.min(LIMIT, ALL - from) }, (_, place) => ({ id: from + place }))
    const next = from + LIMIT < ALL ? String(from + LIMIT) : null
    return Promise.resolve(new Response(JSON.stringify({ data: rows, pagination: { limit: LIMIT, next_cursor: next } })))
  })
  const wrapper = ({ children }: { children: ReactNode }) => <QueryClientProvider client={client}>{children}</QueryClientProvider>
  const { result } = renderHook(() => useList('/api/traces', { limit: LIMIT }), { wrapper })
  const reach = async (from: number, to: number) => {
    await waitFor(() => {
      act(() => result.current.reach(from, to)) // as a table does each time that something came
      const { offset, rows, isFetchingMore } = result.current
      expect(isFetchingMore).toBe(false)
      expect(offset <= from && to < offset + rows.length).toBe(true)
    })
  }
  return { asked, result, reach }
}

test('a list of any length keeps a window of its rows, and the way back', async () => {
  const { asked, result, reach } = served()
  await waitFor(() => expect(result.current.count).toBe(LIMIT))
  while (result.current.hasMore) {
    const end = result.current.offset + result.current.rows.length
    act(() => result.current.reach(end - 30, end - 1))
    await waitFor(() => expect(result.current.offset + result.current.rows.length).toBeGreaterThan(end))
    expect(result.current.rows.length).toBeLessThanOrEqual(WINDOW_PAGES * LIMIT)
  }
  expect([result.current.count, asked.length]).toEqual([ALL, Math.ceil(ALL / LIMIT)])
  expect((result.current.rows[0] as unknown as { id: number }).id).toBe(result.current.offset)

  const before = asked.length
  await reach(0, 20) // from the end to the beginning
  expect(result.current.offset).toBe(0)
  expect(asked.length).toBeLessThanOrEqual(before + 2) // without the pages between
  expect(result.current.count).toBe(ALL) // the rows beyond are still known of

  await reach(2_010, 2_030) // and into the midst
  expect((result.current.rows[0] as unknown as { id: number }).id).toBe(result.current.offset)
  const { offset } = result.current
  act(() => result.current.reach(offset + 1, offset + 25)) // and up from there
  await waitFor(() => expect(result.current.offset).toBe(offset - LIMIT))
})
