import { expect, test } from 'vitest'

import { words } from './diff'

test('a changed word is told, and the rest is the same', () => {
  expect(words('He has 3 red apples.', 'He has 4 red pears.')).toEqual([
    { op: 'equal', text: 'He has ' },
    { op: 'delete', text: '3 ' },
    { op: 'insert', text: '4 ' },
    { op: 'equal', text: 'red ' },
    { op: 'delete', text: 'apples' },
    { op: 'insert', text: 'pears' },
    { op: 'equal', text: '.' },
  ])
})

test('both texts can be put together again, whatever they are', () => {
  const alphabet = ['a ', 'b', '1', ' ', '.', 'é ', '\n']
  let seed = 7
  const draw = (most: number) => (seed = (seed * 48271) % 2147483647) % most
  for (let time = 0; time < 300; time += 1) {
    const [base, other] = [0, 0].map(() => Array.from({ length: draw(12) }, () => alphabet[draw(alphabet.length)]).join(''))
    if (base === undefined || other === undefined) continue
    const found = words(base, other)
    const side = (op: string) => found.filter((span) => span.op === 'equal' || span.op === op).map((span) => span.text).join('')
    expect(side('delete')).toBe(base)
    expect(side('insert')).toBe(other)
  }
})

test('texts of very many words are told as a whole', () => {
  const long = 'word '.repeat(2000)
  expect(words(long, `${long}more`)).toEqual([
    { op: 'delete', text: long },
    { op: 'insert', text: `${long}more` },
  ])
})
