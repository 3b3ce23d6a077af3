import { render, screen } from '@testing-library/react'
import { beforeEach, expect, test } from 'vitest'

import { Checked, Verdict } from './Checked'

beforeEach(() => document.body.replaceChildren())

test('a wrong calculation is told by a word, a sign and its true value; markup in a trace stays text', () => {
  const { container } = render(
    <Checked
      plain="x"
      checked={{
        pieces: [
          { text: '<b>So</b> ', right: null, value: null },
          { text: '1 + 1 = 3', right: false, value: '2' },
          { text: ', 2 + 2 = 4', right: true, value: '4' },
        ],
        apart: [{ text: '3*3=8', right: false, value: '9' }],
      }}
    />,
  )
  expect(container.querySelector('b')).toBeNull()
  expect(container.querySelectorAll('[data-wrong]')).toHaveLength(2)
  expect(container.textContent).toContain('<b>So</b> 1 + 1 = 3✕ wrong: it is 2')
  expect(screen.getByRole('img', { name: 'right' }).textContent).toBe('✓')
})

test('until the calculations are known, the text stands as it is', () => {
  const { container } = render(<Checked plain={'a\n1 + 1 = 3'} />)
  expect(container.textContent).toBe('a\n1 + 1 = 3')
})

test('the verdict says how many are wrong, and nothing where none is stated', () => {
  const said = (right: number, wrong: number) => render(<Verdict right={right} wrong={wrong} />).container.textContent
  expect([said(3, 0), said(1, 0), said(4, 2), said(0, 0)]).toEqual([
    '3 calculations, all right',
    '1 calculation, all right',
    '2 of 6 calculations wrong',
    'No calculation is stated in this trace.',
  ])
})
