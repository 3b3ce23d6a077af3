import { fireEvent, render, screen } from '@testing-library/react'
import { beforeEach, expect, test } from 'vitest'

import { Histogram, SplitBar } from './Bars'
import type { TokenRow } from './row'
import { Line } from './Tokens'

beforeEach(() => document.body.replaceChildren())

function row(changes: Partial<TokenRow> = {}): TokenRow {
  const pieces = ['<s>', ' what', '?\n', ' 4', '<eos>']
  return {
    position: 6,
    trace: 'a1b2',
    split: 'train',
    token_count: 5,
    ids: [1, 2, 3, 4, 0],
    pieces,
    truncated: 1,
    start: 3,
    stop: 5,
    reason: null,
    detail: null,
    ...changes,
  }
}

test('each token is marked for what it is, and told to a screen reader with its count', () => {
  const { container } = render(<Line row={row()} width={8} ids={false} />)
  const marked = [...container.querySelectorAll('.tokens .token')].map((token) => `${token.className.replace('token ', '')}: ${token.textContent ?? ''}`)
  expect(marked).toEqual(['truncated: <s>', 'context: ·what', 'context: ?⏎', 'supervised: ·4', 'supervised stop: <eos>', 'padding: + 4 padding'])
  expect(screen.getAllByRole('group').map((run) => run.getAttribute('aria-label'))).toEqual(['truncated, 1 token', 'context, 2 tokens', 'supervised, 2 tokens'])
  expect(screen.getByText('Row 7')).toBeTruthy()
})

test('a row that is not trained says why instead', () => {
  const { container } = render(<Line row={row({ reason: 'overlong', detail: '9 tokens, over max_length 8', pieces: [], ids: [] })} width={8} ids={false} />)
  expect(container.textContent).toContain('not trained: too long')
  expect(container.textContent).toContain('9 tokens, over max_length 8')
  expect(container.querySelector('.tokens')).toBeNull()
})

test('of a very long row a part is drawn, and the rest when it is asked for', () => {
  const many = 4000
  const { container } = render(
    <Line
      row={row({ token_count: many, truncated: 0, start: 10, stop: many, pieces: Array.from({ length: many }, () => 'x'), ids: Array.from({ length: many }, () => 1) })}
      width={null}
      ids={false}
    />,
  )
  expect(container.querySelectorAll('.token')).toHaveLength(1500)
  fireEvent.click(screen.getByRole('button', { name: '2,500 more tokens' }))
  expect(container.querySelectorAll('.token')).toHaveLength(many)
})

test('splits and spreads can be read without seeing them', () => {
  render(
    <>
      <SplitBar splits={{ train: 90, eval: 10 }} />
      <Histogram title="Steps" found={{ min: 1, mean: 1.5, max: 2, bins: [{ low: 1, high: 1, count: 1 }, { low: 2, high: 2, count: 1 }] }} />
    </>,
  )
  expect(screen.getByRole('img', { name: 'train 90, eval 10' })).toBeTruthy()
  expect(screen.getAllByRole('row', { hidden: true })).toHaveLength(3)
})
