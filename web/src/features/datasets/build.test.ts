import { expect, test } from 'vitest'

import type { Schemas } from '../../api/client'
import { EMPTY, formOf, optionsOf, requestOf } from './build'

test('what is left empty is left out', () => {
  expect(requestOf({ ...EMPTY, name: 'sums' })).toEqual({
    name: 'sums',
    version: null,
    filters: {},
    limit: null,
    selection_strategy: 'latest',
    seed: null,
    splits: { eval: 0.1 },
    group_by: 'trace',
    parent: null,
  })
})

test('a filled form is what the API takes, and the command line says the same', () => {
  const request = requestOf({
    ...EMPTY,
    name: 'sums',
    source: 'gsm8k',
    min_steps: '2',
    meta: 'kind=easy',
    created_after: '2026-01-31',
    limit: '100',
    strategy: 'random',
    seed: '7',
    splits: [
      { name: 'eval', percent: '12.5' },
      { name: '', percent: '5' },
    ],
    groupBy: 'meta',
    groupKey: 'story',
  })
  expect(request).toMatchObject({
    filters: { source: 'gsm8k', min_steps: 2, meta: { kind: 'easy' }, created_after: '2026-01-31T00:00:00Z' },
    limit: 100,
    seed: 7,
    splits: { eval: 0.125 },
    group_by: 'meta.story',
  })
  expect(optionsOf(request).join(' ')).toBe(
    'sums --source gsm8k --filter meta.kind=easy --filter min_steps=2 --filter created_after=2026-01-31T00:00:00Z ' +
      '--limit 100 --strategy random --seed 7 --split eval=0.125 --group-by meta.story',
  )
})

test('the form of a version asks for the same again, made from it', () => {
  const manifest = {
    dataset_key: 'sums-v1',
    name: 'sums',
    filters: { source: 'gsm8k', max_steps: 9 },
    selection_strategy: 'random',
    seed: 3,
    limit: 50,
    group_by: 'prompt',
    shares: { eval: 0.07, test: 0.1 },
  } as unknown as Schemas['Manifest']
  expect(requestOf(formOf(manifest))).toEqual({
    name: 'sums',
    version: null,
    filters: { source: 'gsm8k', max_steps: 9 },
    limit: 50,
    selection_strategy: 'random',
    seed: 3,
    splits: { eval: 0.07, test: 0.1 },
    group_by: 'prompt',
    parent: 'sums-v1',
  })
})
