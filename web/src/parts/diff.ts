/** Words of two texts, aligned: what both have, what only one has. */
export interface Span {
  op: 'equal' | 'delete' | 'insert'
  text: string
}

// As the server cuts them (traces/compare.py): with the space after a word, or every two texts share their spaces.
const WORDS = /[\p{L}\p{N}_]+\s*|[^\p{L}\p{N}_\s]\s*|\s+/gu
/** The alignment costs the product of both lengths. */
const MOST = 1_500

/** The `equal` and `delete` spans joined are the base; `equal` and `insert` the other. */
export function words(base: string, other: string): Span[] {
  if (base === other) return base === '' ? [] : [{ op: 'equal', text: base }]
  const [a, b] = [base.match(WORDS) ?? [], other.match(WORDS) ?? []]
  if (Math.max(a.length, b.length) > MOST) return spans([['delete', base], ['insert', other]])
  const width = b.length + 1
  // common[i * width + j]: the longest common run of words of a[i:] and b[j:]
  const common = new Uint16Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      common[i * width + j] =
        a[i] === b[j]
          ? (common[(i + 1) * width + j + 1] ?? 0) + 1
          : Math.max(common[(i + 1) * width + j] ?? 0, common[i * width + j + 1] ?? 0)
  const found: [Span['op'], string][] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    const [x, y] = [a[i], b[j]]
    if (x !== undefined && x === y) {
      found.push(['equal', x])
      i += 1
      j += 1
    } else if (x !== undefined && (y === undefined || (common[(i + 1) * width + j] ?? 0) >= (common[i * width + j + 1] ?? 0))) {
      found.push(['delete', x])
      i += 1
    } else {
      found.push(['insert', y ?? ''])
      j += 1
    }
  }
  return spans(found)
}

/** Neighbours of one kind joined; between two equal spans what is deleted stands before what is inserted. */
function spans(found: [Span['op'], string][]): Span[] {
  const joined: Span[] = []
  let [gone, come] = ['', '']
  const flush = () => {
    if (gone) joined.push({ op: 'delete', text: gone })
    if (come) joined.push({ op: 'insert', text: come })
    ;[gone, come] = ['', '']
  }
  for (const [op, text] of found) {
    if (op === 'delete') gone += text
    else if (op === 'insert') come += text
    else {
      flush()
      const last = joined.at(-1)
      if (last?.op === 'equal') last.text += text
      else joined.push({ op, text })
    }
  }
  flush()
  return joined
}
