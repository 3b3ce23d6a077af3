import { expect, test } from 'vitest'

import { MOST_CHARACTERS, MOST_LINES, NOTHING, pattern, searcher, shown, take, type Piece } from './log'

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
  const long = `${'x'.repeat(9_999)}\n`.repeat(100)
  log = NOTHING
  for (let seq = 1; seq <= MOST_CHARACTERS / 1e6 + 5; seq++) log = take(log, [piece(seq, long)])
  expect(log.size).toBeLessThanOrEqual(MOST_CHARACTERS)
  expect([log.size, log.lines.length + log.dropped]).toEqual([log.lines.length * 9_999, MOST_CHARACTERS / 1e4 + 500])
})

test('errors and words are found', () => {
  const log = take(NOTHING, [piece(1, 'fine\nRuntimeError: no\nValueError: x\nerror: bad\nTraceback (most recent call last):\n')])
  expect([NOTHING.error, log.error]).toEqual([-1, 1])
  expect(searcher()(log.lines, pattern(' ERROR '))).toEqual([1, 2, 3])
  expect(searcher()(log.lines, pattern('r: B'))).toEqual([3])
  expect(searcher()(log.lines, pattern('.'))).toEqual([])
  const sought = pattern('o')
  searcher()(log.lines, sought)
  expect([...('o one'.matchAll(sought ?? /x/g))]).toHaveLength(2) // searching leaves no trace in it
})

test('an error is still found when the first one is no longer kept', () => {
  let log = take(NOTHING, [piece(1, `an error\n${'x\n'.repeat(1000)}`)])
  const more = `${'x\n'.repeat(999)}fatal\n`
  for (let seq = 2; log.dropped === 0; seq++) log = take(log, [piece(seq, more)])
  expect(log.lines[log.error]?.text).toBe('fatal')
  expect(log.error).toBe(log.lines.findIndex((line) => line.text === 'fatal'))
})

test('what is searched as it comes is found as if it had been there at once', () => {
  const sought = pattern('1')
  const search = searcher()
  let log = NOTHING
  for (let seq = 1; seq <= 40; seq++) {
    log = take(log, [piece(seq, seq % 3 ? `${seq}` : `${seq}\n${seq}`)])
    expect(search(shown(log), sought)).toEqual(searcher()(shown(log), sought))
  }
})
