import { expect, test } from 'vitest'

import { bodyOf, metaOf, optionsOf, queryOf } from './filters'

const place = (asked: Record<string, string>) => ({ get: (name: string) => asked[name] ?? '' })

test('a key of meta needs a value, and the value may hold an equals sign', () => {
  expect(metaOf('difficulty=3')).toEqual(['difficulty', '3'])
  expect(metaOf(' formula = a=b ')).toEqual(['formula', 'a=b'])
  for (const words of ['', 'difficulty', '=3', 'difficulty=']) expect(metaOf(words)).toBeNull()
})

test('the filters of the address are those of the API and of the command line', () => {
  const asked = place({ q: ' two eggs ', min_steps: '2', meta: 'kind=easy' })
  expect(queryOf(asked)).toMatchObject({ q: 'two eggs', min_steps: '2', 'meta.kind': 'easy', source: '' })
  expect(optionsOf(asked)).toEqual(['--q', 'two eggs', '--min-steps', '2', '--meta', 'kind=easy'])
})

test('the filters of the address are those of a request as well', () => {
  const asked = place({ q: ' two eggs ', source: 'none', min_steps: '2', meta: 'kind=easy', created_after: '2026-01-31' })
  expect(bodyOf(asked.get)).toEqual({ q: 'two eggs', source: 'none', min_steps: 2, meta: { kind: 'easy' }, created_after: '2026-01-31T00:00:00Z' })
  expect(bodyOf(place({ meta: 'kind' }).get)).toEqual({})
})
