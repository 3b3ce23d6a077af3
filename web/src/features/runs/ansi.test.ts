import { expect, test } from 'vitest'

import { plain, spans } from './ansi'

test('colours become classes, and other sequences nothing', () => {
  expect(spans('a\x1b[31mred\x1b[1mbold\x1b[0m\x1b[2Kz')).toEqual([
    { text: 'a', className: '' },
    { text: 'red', className: 'ansi-red' },
    { text: 'bold', className: 'ansi-red ansi-bold' },
    { text: 'z', className: '' },
  ])
  expect(plain('\x1b]8;;http://x\x07link\x1b[38;5;1mx')).toBe('linkx')
})

test('text that looks like HTML stays text', () => {
  expect(spans('<b>&amp;')).toEqual([{ text: '<b>&amp;', className: '' }])
})
