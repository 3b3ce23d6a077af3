import { expect, test } from 'vitest'

import { Parser, type ServerEvent } from './sse'

const STREAM = 'retry: 1000\n\n: still here\n\nid: 7\nevent: log\ndata: {"a":1}\n\nevent: end\r\ndata: x\r\ndata: y\r\n\r\n'
const EVENTS: ServerEvent[] = [
  { type: 'log', data: '{"a":1}', id: '7' },
  { type: 'end', data: 'x\ny', id: null },
]

test('a stream cut at any place gives the same events', () => {
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const parser = new Parser()
    const found = [...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut)), ...parser.push('\n')]
    expect(found).toEqual(EVENTS)
    expect(parser.retry).toBe(1000)
  }
})

test('an event that is not finished is not told', () => {
  expect(new Parser().push('data: half')).toEqual([])
})
