import { QueryClientProvider } from '@tanstack/react-query'
import { fireEvent, render, screen, waitFor } from '@testing-library/react'
import type { ReactNode } from 'react'
import { beforeEach, expect, test, vi } from 'vitest'

import { queryClient } from '../../api/hooks'
import { Card } from './Card'
import ModelList from './ModelList'
import { MoveAlias } from './MoveAlias'
import { PromoteDialog } from './PromoteDialog'

const asked: { method: string; url: string; body: unknown }[] = []
const none = { data: [], pagination: { limit: 1, next_cursor: null } }

beforeEach(() => {
  asked.length = 0
  vi.spyOn(globalThis, 'fetch').mockImplementation((url, init) => {
    const method = init?.method ?? 'GET'
    asked.push({ method, url: String(url), body: typeof init?.body === 'string' ? JSON.parse(init.body) : null })
    return Promise.resolve(Response.json(method === 'GET' ? none : { name: 'sums', version: '3', alias: 'best' }))
  })
})

const shown = (page: ReactNode) => render(<QueryClientProvider client={queryClient()}>{page}</QueryClientProvider>)
const sent = () => asked.filter((each) => each.method !== 'GET')

test('an empty registry says how a run is promoted', async () => {
  shown(<ModelList />)
  expect(await screen.findByText('No model yet')).toBeTruthy()
  expect(screen.getByText(/tunix-rt models promote/)).toBeTruthy()
})

test('what stands in a card is text, never HTML, and leads nowhere', () => {
  const { container } = shown(<Card source={'# <b>x</b>\n\n<img src=x onerror=alert(1)> [y](javascript:alert(1))\n\n| `<i>` |\n|---|\n'} />)
  expect(container.querySelector('img, a, b, i, script')).toBeNull()
  expect(container.querySelector('h3')?.textContent).toBe('<b>x</b>')
})

test('promoting makes the model where it is not there, then the version', async () => {
  const close = vi.fn()
  shown(<PromoteDialog run={{ run_id: 'the-run' }} close={close} />)
  fireEvent.change(screen.getByLabelText('Model'), { target: { value: ' sums ' } })
  fireEvent.change(screen.getByLabelText('Alias (optional)'), { target: { value: 'best' } })
  fireEvent.click(screen.getByRole('button', { name: 'Promote', hidden: true }))
  await waitFor(() => expect(close).toHaveBeenCalled())
  expect(sent()).toEqual([
    { method: 'POST', url: '/api/models', body: { name: 'sums' } },
    { method: 'POST', url: '/api/models/sums/promote', body: { run_id: 'the-run', alias: 'best', actor: 'web' } },
  ])
})

test('an alias is pointed with a reason', async () => {
  const close = vi.fn()
  const family = { id: '', name: 'sums', description: '', created_at: '', version_count: 1, aliases: [], versions: [], history: [] }
  shown(<MoveAlias family={family} alias="best" version="3" close={close} />)
  fireEvent.change(screen.getByLabelText('Why (kept in the history)'), { target: { value: 'better' } })
  fireEvent.click(screen.getByRole('button', { name: 'Point it', hidden: true }))
  await waitFor(() => expect(close).toHaveBeenCalled())
  expect(sent()).toEqual([{ method: 'PUT', url: '/api/models/sums/aliases/best', body: { version: '3', actor: 'web', reason: 'better' } }])
})
