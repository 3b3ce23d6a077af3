import { expect, test } from 'vitest'

import { badLines, linesOf } from './lines'

test('lines are found by their numbers, the last one without its newline too', async () => {
  const found = await linesOf(new Blob(['one\ntwo é\n\nfour']), [2, 3, 4, 9])
  expect([...found]).toEqual([
    [2, 'two é'],
    [3, ''],
    [4, 'four'],
  ])
})

test('a long line is cut, and what follows it keeps its number', async () => {
  const found = await linesOf(new Blob([`${'x'.repeat(200_000)}\nshort\n`]), [1, 2])
  expect(found.get(1)).toBe(`${'x'.repeat(300)}…`)
  expect(found.get(2)).toBe('short')
})

test('an import that was refused for its lines names them', () => {
  expect(badLines({ faults: [{ pointer: 'line 7', detail: 'no prompt' }] })).toEqual([{ line: 7, reason: 'no prompt' }])
  expect(badLines({ faults: [{ pointer: '/format', detail: 'unknown' }] })).toBeNull()
  expect(badLines({ faults: [] })).toBeNull()
})
