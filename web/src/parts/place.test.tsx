import { render, screen, fireEvent } from '@testing-library/react'
import { beforeEach, expect, test } from 'vitest'

import { Filters } from './Filters'
import { patched } from './place'
import { sorted, Table, type Column } from './Table'

interface Row {
  name: string
  loss: number | null
}
const COLUMNS: Column<Row>[] = [
  { id: 'name', name: 'Name', cell: (row) => <a href={`/${row.name}`}>{row.name}</a>, sort: (row) => row.name },
  { id: 'loss', name: 'Loss', cell: (row) => row.loss, sort: (row) => row.loss },
]
const ROWS: Row[] = [
  { name: 'b', loss: 2 },
  { name: 'c', loss: null },
  { name: 'a', loss: 10 },
]

beforeEach(() => {
  document.body.replaceChildren()
  history.replaceState(null, '', '/list')
})

test('a change of the place leaves the rest of it, and what is empty is taken out', () => {
  expect(patched('?a=1&b=2&b=3', { b: ['4', '5'], c: '', d: 'x y' })).toBe('a=1&b=4&b=5&d=x+y')
  expect(patched('?a=1', { a: null })).toBe('')
})

test('rows are sorted by numbers as numbers, and nothing is last in either direction', () => {
  const names = (order: string) => sorted(ROWS, COLUMNS, order).map((row) => row.name).join('')
  expect([names('loss'), names('-loss'), names('name'), names('nonsense')]).toEqual(['bac', 'abc', 'abc', 'bca'])
})

test('filters and sorting are in the address', () => {
  render(
    <>
      <Filters label="Filter" filters={[{ kind: 'choices', name: 'status', label: 'State', options: [{ value: 'failed', label: 'failed' }] }]} />
      <Table label="Rows" columns={COLUMNS} rows={ROWS} keyOf={(row) => row.name} sortParam="sort" />
    </>,
  )
  fireEvent.click(screen.getByRole('button', { name: 'failed' }))
  expect(location.search).toBe('?status=failed')
  fireEvent.click(screen.getByRole('button', { name: 'Loss' }))
  expect(location.search).toBe('?status=failed&sort=-loss')
  expect(screen.getByRole('columnheader', { name: 'Loss' }).getAttribute('aria-sort')).toBe('descending')
  fireEvent.click(screen.getByRole('button', { name: 'Clear filters' }))
  expect(location.search).toBe('?sort=-loss')
})

test('of a hundred thousand rows only those in view are drawn', () => {
  const rows = Array.from({ length: 100_000 }, (_, place) => ({ name: `n${place}`, loss: place }))
  render(<Table label="Rows" columns={COLUMNS} rows={rows} keyOf={(row) => row.name} />)
  expect(document.querySelectorAll('tbody tr').length).toBeLessThan(80)
  expect(screen.getByText('100,000 rows')).toBeTruthy()
})
