import { expect, test } from 'vitest'

import { card, spans } from './markdown'

const plain = (text: string) => ({ code: false, text })
const code = (text: string) => ({ code: true, text })

test('a card of ours is read whole: metadata, headings, tables, lists, code', () => {
  const found = card('---\ntags: "x"\n---\n\n# A model on `sums-v1`\n\n| what | n |\n|---|---|\n| `a\\|b` | - |\n\n- one\n- `two`\n\n```sh\ntunix-rt # not a heading\n```\n\nTwo\nlines.\n')
  expect(found.front).toBe('tags: "x"')
  expect(found.blocks).toEqual([
    { kind: 'heading', level: 1, spans: [plain('A model on '), code('sums-v1')] },
    { kind: 'table', head: [[plain('what')], [plain('n')]], rows: [[[code('a|b')], [plain('-')]]] },
    { kind: 'list', items: [[plain('one')], [code('two')]] },
    { kind: 'code', text: 'tunix-rt # not a heading' },
    { kind: 'text', spans: [plain('Two lines.')] },
  ])
})

test('what a stranger wrote is text: HTML, links, images, fences that never end', () => {
  const hostile = '<script>alert(1)</script> [x](javascript:alert(1)) ![](http://x/y.png)'
  expect(card(hostile).blocks).toEqual([{ kind: 'text', spans: [plain(hostile)] }])
  expect(card('---\nnever ends').front).toBeNull()
  expect(card('```\nnever ends').blocks).toEqual([{ kind: 'code', text: 'never ends' }])
  for (const text of ['', '|', '`', '``` ', '**', '#', '- ', '\u0000', '|'.repeat(5000), '`'.repeat(5000), '*'.repeat(5001)]) card(text)
})

test('code is enclosed by as many backticks as it takes', () => {
  expect(spans('a ``b`c`` d')).toEqual([plain('a '), code('b`c'), plain(' d')])
  expect(spans('`` ` ``')).toEqual([code('`')])
  expect(spans('a `b')).toEqual([plain('a `b')])
  expect(spans('so **it** is')).toEqual([plain('so '), { code: false, text: 'it', strong: true }, plain(' is')])
  expect(spans('2 ** 3')).toEqual([plain('2 '), plain('** 3')])
})
