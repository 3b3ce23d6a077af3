import { expect, test } from 'vitest'

import { flat, nested } from './config'
import { groupsOf } from './schema'

const SCHEMA = {
  $defs: {
    Lora: {
      type: 'object',
      description: 'An adapter.',
      properties: { targets: { type: 'array', items: { enum: ['a', 'b'] }, default: ['a'] }, rank: { type: 'integer', minimum: 1, default: 8, description: 'size' } },
    },
  },
  properties: {
    engine: { enum: ['tunix', 'torch'], type: 'string', default: 'tunix' },
    lora: { $ref: '#/$defs/Lora' },
    steps: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }], default: null, description: 'steps' },
    keep: { type: 'boolean', default: false },
    dataset: { type: 'string' },
  },
}

test('a schema becomes groups of fields with their kinds, bounds and defaults', () => {
  const [top, lora] = groupsOf(SCHEMA, ['dataset'])
  expect(top?.fields.map((each) => [each.key, each.kind, each.nullable])).toEqual([
    ['engine', 'choice', false],
    ['steps', 'integer', true],
    ['keep', 'boolean', false],
  ])
  expect(lora?.fields[0]).toMatchObject({ key: 'lora.targets', kind: 'choices', options: ['a', 'b'], default: ['a'] })
  expect(lora?.fields[1]).toMatchObject({ key: 'lora.rank', kind: 'integer', minimum: 1, default: 8 })
})

test('flat and nested undo each other', () => {
  const config = { a: 1, data: { x: null, y: ['q'] }, m: { n: { o: 'p' } } }
  expect(nested(flat(config))).toEqual(config)
})
