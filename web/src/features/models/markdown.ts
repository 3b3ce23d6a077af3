/** The little of Markdown that model cards need, as data: whoever draws it makes text of it, never HTML, never links. */

export type Span = { code: boolean; text: string; strong?: boolean }

export type Block =
  | { kind: 'heading'; level: number; spans: Span[] }
  | { kind: 'text'; spans: Span[] }
  | { kind: 'list'; items: Span[][] }
  | { kind: 'code'; text: string }
  | { kind: 'table'; head: Span[][]; rows: Span[][][] }

export interface Card {
  /** The YAML between `---` at the top; null where there is none. */
  front: string | null
  blocks: Block[]
}

/** Runs of backticks enclose code; two asterisks what is strong; all else is as it is written. */
export function spans(line: string): Span[] {
  const found: Span[] = []
  let plain = ''
  const put = () => {
    plain.split('**').forEach((text, place, all) => {
      // An asterisk pair that is never closed is text.
      const open = place === all.length - 1 && place % 2 === 1
      if (open) found.push({ code: false, text: `**${text}` })
      else if (text) found.push({ code: false, text, ...(place % 2 === 1 ? { strong: true } : {}) })
    })
    plain = ''
  }
  for (let at = 0; at < line.length; ) {
    const ticks = /^`+/.exec(line.slice(at))?.[0]
    if (!ticks) {
      const next = line.indexOf('`', at)
      plain += line.slice(at, next < 0 ? undefined : next)
      at = next < 0 ? line.length : next
      continue
    }
    const start = at + ticks.length
    let end = line.indexOf(ticks, start)
    while (end >= 0 && (line[end + ticks.length] === '`' || line[end - 1] === '`')) end = line.indexOf(ticks, end + 1)
    if (end < 0) {
      plain += ticks
      at = start
      continue
    }
    put()
    const inner = line.slice(start, end)
    found.push({ code: true, text: inner.startsWith(' ') && inner.endsWith(' ') && inner.trim() ? inner.slice(1, -1) : inner })
    at = end + ticks.length
  }
  put()
  return found
}

/** The cells of a table's line; `\|` is no border. */
const cells = (line: string): Span[][] =>
  line
    .trim()
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map((cell) => spans(cell.trim().replaceAll('\\|', '|')))

const isTable = (line: string) => line.trimStart().startsWith('|')

export function card(source: string): Card {
  const lines = source.replaceAll('\r\n', '\n').split('\n')
  let front: string | null = null
  let at = 0
  if (lines[0] === '---') {
    const end = lines.indexOf('---', 1)
    if (end > 0) {
      front = lines.slice(1, end).join('\n')
      at = end + 1
    }
  }
  const blocks: Block[] = []
  const while_ = (holds: (line: string) => boolean): string[] => {
    const from = at
    while (at < lines.length && holds(lines[at] ?? '')) at += 1
    return lines.slice(from, at)
  }
  while (at < lines.length) {
    const line = lines[at] ?? ''
    const fence = /^(`{3,}|~{3,})/.exec(line)?.[1]
    const heading = /^(#{1,6})\s+(.*)$/.exec(line)
    if (line.trim() === '') at += 1
    else if (fence) {
      at += 1
      const text = while_((each) => !(each.startsWith(fence) && each.trim() === fence)).join('\n')
      at += 1
      blocks.push({ kind: 'code', text })
    } else if (heading) {
      at += 1
      blocks.push({ kind: 'heading', level: heading[1]?.length ?? 1, spans: spans(heading[2] ?? '') })
    } else if (isTable(line)) {
      const [head = [], ...rows] = while_(isTable)
        .filter((each) => !/^[\s|:-]+$/.test(each))
        .map(cells)
      blocks.push({ kind: 'table', head, rows })
    } else if (/^\s*[-*]\s/.test(line)) {
      const items = while_((each) => /^\s*[-*]\s/.test(each)).map((each) => spans(each.replace(/^\s*[-*]\s+/, '')))
      blocks.push({ kind: 'list', items })
    } else {
      const paragraph = while_((each) => each.trim() !== '' && !isTable(each) && !/^(#{1,6}\s|`{3}|~{3}|\s*[-*]\s)/.test(each))
      blocks.push({ kind: 'text', spans: spans(paragraph.join(' ')) })
    }
  }
  return { front, blocks }
}
