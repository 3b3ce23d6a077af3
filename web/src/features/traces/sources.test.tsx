import { QueryClientProvider } from '@tanstack/react-query'
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react'
import { beforeEach, expect, test, vi } from 'vitest'

import { queryClient } from '../../api/hooks'
import { SetSource } from './SetSource'
import { sourceOfFile, sourceOptions } from './sources'

beforeEach(cleanup)

test('a source has its count, and the current one is a choice even if no trace has it', () => {
  const counts = [{ source: 'gsm8k', count: 1234 }, { source: null, count: 2 }]
  expect(sourceOptions(counts, '')).toEqual([
    { value: 'gsm8k', label: 'gsm8k (1,234)' },
    { value: 'none', label: 'none (2)' },
  ])
  expect(sourceOptions(counts, 'none')).toHaveLength(2)
  expect(sourceOptions(counts, 'gone').at(-1)).toEqual({ value: 'gone', label: 'gone' })
})

test('the name of a file suggests a source as on the command line', () => {
  expect(sourceOfFile('train.jsonl')).toBe('train')
  expect(sourceOfFile('a.b.jsonl')).toBe('a.b')
  expect(sourceOfFile('.jsonl')).toBe('.jsonl')
  expect(sourceOfFile('ta\tb\u001b.jsonl')).toBe('tab')
  expect(sourceOfFile('caf\u00e9 1.jsonl')).toBe('caf\u00e9 1')
  expect(sourceOfFile(`${'\u{1d4d0}'.repeat(240)}.jsonl`)).toBe('\u{1d4d0}'.repeat(200))
  expect(sourceOfFile('\t.jsonl')).toBe('')
})

/** Answers counts, and keeps the bodies that are posted. */
function server(): unknown[] {
  const bodies: unknown[] = []
  vi.spyOn(globalThis, 'fetch').mockImplementation((url, init) => {
    if (init?.method === 'POST') {
      bodies.push(JSON.parse(String(init.body)))
      return Promise.resolve(Response.json({ changed: 3, unchanged: 0 }))
    }
    return Promise.resolve(Response.json({ data: [{ source: 'old', count: 3 }], total: String(url).includes('source=none') ? 3 : 9 }))
  })
  return bodies
}

function dialog(props: Partial<Parameters<typeof SetSource>[0]>) {
  HTMLDialogElement.prototype.showModal ??= function (this: HTMLDialogElement) {
    this.open = true
  }
  HTMLDialogElement.prototype.close ??= function (this: HTMLDialogElement) {
    this.open = false
  }
  const close = vi.fn()
  render(
    <QueryClientProvider client={queryClient()}>
      <SetSource close={close} {...props} />
    </QueryClientProvider>,
  )
  return close
}

test('all traces of a filter get a source, and the dialog says how many they are', async () => {
  const bodies = server()
  const close = dialog({ place: { get: (name) => (name === 'source' ? 'none' : '') } })
  expect(await screen.findByText('All 3 traces that match the filters get this source.')).toBeTruthy()
  const button = screen.getByRole<HTMLButtonElement>('button', { name: 'Set for 3 traces', hidden: true })
  expect(button.disabled).toBe(true)
  const source = screen.getByLabelText('Source')
  expect(document.activeElement).toBe(source)
  fireEvent.change(source, { target: { value: ' new ' } })
  expect(button.disabled).toBe(false)
  fireEvent.keyDown(source, { key: 'Enter' })
  await waitFor(() => expect(close).toHaveBeenCalledWith('new'))
  expect(bodies).toEqual([{ source: 'new', filters: { meta: {}, source: 'none' } }])
})

test('chosen traces get a source by their ids, and closing changes nothing', async () => {
  const bodies = server()
  const close = dialog({ ids: ['a', 'b'] })
  expect(screen.getByText('The 2 chosen traces get this source.')).toBeTruthy()
  fireEvent.change(screen.getByLabelText('Source'), { target: { value: 'new' } })
  for (const button of screen.getAllByRole('button', { name: 'Close', hidden: true })) fireEvent.click(button)
  expect(close.mock.calls).toEqual([[], []])
  expect(bodies).toEqual([])
  fireEvent.click(screen.getByRole('button', { name: 'Set for 2 traces', hidden: true }))
  await waitFor(() => expect(bodies).toEqual([{ source: 'new', ids: ['a', 'b'] }]))
})
