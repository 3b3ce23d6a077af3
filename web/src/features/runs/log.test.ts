import { expect, test } from 'vitest'

import { firstError, matches, MOST_LINES, NOTHING, shown, take, type Piece } from './log'

const piece = (seq: number, chunk: string, stream: Piece['stream'] = 'stdout'): Piece => ({ seq, chunk, stream })
const texts = (log: typeof NOTHING) => shown(log).map((line) => line.text)

test('pieces cut anywhere, told twice or in any grouping give the same lines', () => {
  const whole = 'one\ntwo\r\nthree 漢字\nfour'
  const pieces = [...whole].map((letter, place) => piece(place + 1, letter))
  for (const size of [1, 2, 5, 100]) {
    let log = NOTHING
    for (let at = 0; at < pieces.length; at += size) {
      log = take(log, pieces.slice(Math.max(0, at - 3), at + size)) // three of them once more, as after a lost connection
    }
    expect(texts(log)).toEqual(['one', 'two', 'three 漢字', 'four'])
    expect(log.seq).toBe(pieces.length)
  }
})

test('a piece whose forerunner did not come is not taken', () => {
  const log = take(NOTHING, [piece(1, 'a\n'), piece(3, 'c\n')])
  expect([log.seq, log.gap, texts(log)]).toEqual([1, true, ['a']])
  const later = take(log, [piece(2, 'b\n'), piece(3, 'c\n')])
  expect([later.seq, later.gap, texts(later)]).toEqual([3, false, ['a', 'b', 'c']])
})

test('what came before is left as it was', () => {
  const before = take(NOTHING, [piece(1, 'a\nb')])
  const copy = structuredClone(before)
  take(before, [piece(2, 'c\n')])
  expect(before).toEqual(copy)
})

test('streams keep their own unfinished lines, and a progress bar is one line', () => {
  const log = take(NOTHING, [piece(1, 'half'), piece(2, 'warn\n', 'stderr'), piece(3, ' done\n'), piece(4, '10%\r50%\r100%\n')])
  expect(shown(log)).toEqual([
    { text: 'warn', stream: 'stderr' },
    { text: 'half done', stream: 'stdout' },
    { text: '100%', stream: 'stdout' },
  ])
})

test('bytes that are no UTF-8 come as base64', () => {
  expect(texts(take(NOTHING, [{ seq: 1, stream: 'stdout', chunk: btoa('\xffok\n'), encoding: 'base64' }]))).toEqual(['\ufffdok'])
})

test('memory is bounded, and what is dropped is counted', () => {
  let log = NOTHING
  const thousand = 'x\n'.repeat(1000)
  for (let seq = 1; seq <= MOST_LINES / 1000 + 50; seq++) log = take(log, [piece(seq, thousand)])
  expect(log.lines.length).toBeLessThanOrEqual(MOST_LINES)
  expect(log.lines.length + log.dropped).toBe(MOST_LINES + 50_000)
})

test('errors and words are found', () => {
  const { lines } = take(NOTHING, [piece(1, 'fine\nRuntimeError: no\nValueError: x\nerror: bad\nTraceback (most recent call last):\n')])
  expect(firstError(lines)).toBe(1)
  expect(matches(lines, 'ERROR')).toEqual([1, 2, 3])
})
