import { QueryClientProvider } from '@tanstack/react-query'
import { cleanup, render, screen } from '@testing-library/react'
import type { ReactNode } from 'react'
import { beforeEach, expect, test, vi } from 'vitest'

import type { Schemas } from '../../api/client'
import { queryClient } from '../../api/hooks'
import { Output } from './ItemDialog'
import Leaderboard from './Leaderboard'
import { Queue, type Queued } from './Queue'
import { slow, Waiting } from './Waiting'

beforeEach(() => {
  // Nothing has a size here, and rows out of view are not drawn.
  vi.spyOn(HTMLElement.prototype, 'clientHeight', 'get').mockReturnValue(600)
  vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(1000)
})

const FIGURES = { n_items: 40, n_scored: 40, n_missing: 0, n_unscored: 0, n_correct: 20, score: 0.5, ci: [0.35, 0.65] as [number, number] }

function row(name: string, more: Partial<Schemas['BoardRow']> = {}): Schemas['BoardRow'] {
  return {
    ...FIGURES, id: `id-${name}`, name, created_at: '2026-01-01T00:00:00Z', eval_set: 'sums', eval_set_digest: 'sha256:a', judge: 'exact',
    judge_version: '1', judge_digest: 'sha256:b', decoding: {}, decoding_digest: 'unknown', model_id: null, dataset_key: null, run_id: null,
    n_unknown: 0, n_repeated: 0, established: true, samples: 1, contamination: null, waiver: null, held_back: false, rank: 1, p_value: null,
    older: 0, ...more,
  }
}

function board(rows: Schemas['BoardRow'][]): Schemas['BoardView'] {
  const { eval_set, eval_set_digest, judge, judge_version, judge_digest, decoding, decoding_digest } = row('any')
  return { eval_set, eval_set_digest, judge, judge_version, judge_digest, decoding, decoding_digest, n_items: 40, n_rows: rows.length, n_older: 0, rows, next_row: null }
}

function answers(boards: Schemas['BoardView'][]): void {
  vi.spyOn(globalThis, 'fetch').mockImplementation((url) => {
    const data = String(url).startsWith('/api/tunix/evaluations') ? boards : []
    return Promise.resolve(Response.json({ data, pagination: { limit: 1, next_cursor: null } }))
  })
}

function shown(page: ReactNode) {
  return render(<QueryClientProvider client={queryClient()}>{page}</QueryClientProvider>)
}

test('an empty leaderboard says how a board is made', async () => {
  answers([])
  shown(<Leaderboard />)
  expect(await screen.findByText('No board yet')).toBeTruthy()
  expect(screen.getByText(/tunix-rt evaluate/)).toBeTruthy()
})

test('ties, what is not established and what is held back are said in words', async () => {
  const overlap = { method: 'overlap-1', n: 6, share: 0.15, clean: { ...FIGURES, score: 0.4 } }
  answers([board([row('one'), row('two'), row('small', { rank: 3, established: false, n_scored: 12 }), row('leaky', { rank: null, held_back: true, contamination: overlap })])])
  shown(<Leaderboard />)
  expect(await screen.findByText('one')).toBeTruthy()
  expect(screen.getAllByText('tied', { exact: false })).toHaveLength(2)
  expect(screen.getByText('not established')).toBeTruthy()
  expect(screen.getByText('Held back: 1')).toBeTruthy()
  expect(screen.getByText('50.0 % with them, 40.0 % without')).toBeTruthy()
  expect(screen.getByRole('button', { name: /Waive/ })).toBeTruthy()
  // In no rank: it is not a row of the table.
  expect(screen.getByText('leaky').closest('table')).toBeNull()
})

test('a row whose predictions answer items twice is held back, with the reason', async () => {
  answers([board([row('one'), row('doubled', { rank: null, held_back: true, n_repeated: 60 })])])
  shown(<Leaderboard />)
  expect(await screen.findByText('60 items left out: answered more than once')).toBeTruthy()
  expect(screen.getByText('doubled').closest('table')).toBeNull()
})

test('evaluations to come say where they are, and lead to their runs', async () => {
  const queued = (job: number, more: Partial<Queued>): Queued => ({
    job, run_id: `run-${job}`, dataset_key: 'sums-v1', model_id: 'scratch', judge: 'exact', created_at: '2026-01-01T00:00:00Z',
    state: 'waiting', eval_set: 'sums', before: 0, reason: null, evaluation_id: null, ...more,
  })
  const rows = [
    queued(1, { state: 'running', before: null }),
    queued(2, {}),
    queued(3, { before: 2 }),
    queued(4, { state: 'failed', before: null, reason: 'no model' }),
    ...[5, 6, 7].map((job) => queued(job, { before: job })),
  ]
  vi.spyOn(globalThis, 'fetch').mockImplementation(() => Promise.resolve(Response.json({ data: rows, pagination: { limit: 7, next_cursor: null } })))
  shown(<Queue />)
  expect(await screen.findByText('evaluation waiting, 2 before it')).toBeTruthy()
  for (const words of ['evaluation running', 'evaluation waiting, next in the queue', 'evaluation failed', 'and 2 more']) expect(screen.getByText(words)).toBeTruthy()
  expect(screen.getAllByRole('link').map((link) => link.getAttribute('href'))).toEqual([1, 2, 3, 4, 5].map((job) => `/runs/run-${job}`))
  expect(screen.getByText('evaluation failed').title).toBe('no model')
})

test('what a model wrote is text, never HTML, and the answer found is marked where it stands last', () => {
  const { container } = render(<Output output={'7 <img src=x onerror=alert(1)> so 7'} found="7" />)
  expect(container.querySelector('img')).toBeNull()
  expect(container.textContent).toBe('7 <img src=x onerror=alert(1)> so 7')
  const mark = container.querySelector('mark')
  expect(mark?.textContent).toBe('7')
  expect(mark?.previousSibling?.textContent).toContain('so ')
})

test('a judging that a worker does says how far it is, and its page is opened once it is done', async () => {
  const judging: Schemas['JudgingView'] = { job: 7, state: 'running', reason: null, judge: 'llm', n: 40, n_judged: 0, evaluation_id: null }
  const answer = vi.spyOn(globalThis, 'fetch').mockImplementation(() => Promise.resolve(Response.json({ ...judging, n_judged: 12 })))
  const close = vi.fn()
  shown(<Waiting judging={judging} close={close} />)
  expect(await screen.findByText('12 of 40 outputs judged')).toBeTruthy()
  expect(screen.getByText('A worker asks the judge.')).toBeTruthy()
  expect(String(answer.mock.calls[0]?.[0])).toBe('/api/judgings/7')
  cleanup()
  shown(<Waiting judging={{ ...judging, state: 'done', n_judged: 40, evaluation_id: 'made' }} close={close} />)
  expect(close).toHaveBeenCalledOnce()
  expect(window.location.pathname).toBe('/evaluations/made')
  expect([slow('llm:repeat=1'), slow('numeric'), slow('')]).toEqual([true, false, false])
})
