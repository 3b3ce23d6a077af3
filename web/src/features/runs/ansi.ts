/** Colours of a terminal (SGR sequences) as pieces of text with classes; every other control sequence is left out. */
export interface Span {
  text: string
  className: string
}

const NAMES = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white']
// eslint-disable-next-line no-control-regex
const SEQUENCE = /\x1b\[([0-9;:]*)m|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]/g

export function spans(text: string): Span[] {
  const found: Span[] = []
  let colour = ''
  const marks = new Set<string>()
  let at = 0
  const push = (until: number) => {
    if (until > at) found.push({ text: text.slice(at, until), className: [colour, ...marks].filter(Boolean).join(' ') })
  }
  for (const match of text.matchAll(SEQUENCE)) {
    push(match.index)
    at = match.index + match[0].length
    if (match[1] === undefined) continue
    const codes = match[1].split(/[;:]/).map(Number)
    for (let place = 0; place < codes.length; place++) {
      const code = codes[place] ?? 0
      if (code === 0) {
        colour = ''
        marks.clear()
      } else if (code === 1) marks.add('ansi-bold')
      else if (code === 2) marks.add('ansi-dim')
      else if (code === 3) marks.add('ansi-italic')
      else if (code === 4) marks.add('ansi-underline')
      else if (code === 22) {
        marks.delete('ansi-bold')
        marks.delete('ansi-dim')
      } else if (code === 39) colour = ''
      else if (code >= 30 && code <= 37) colour = `ansi-${NAMES[code - 30] ?? ''}`
      else if (code >= 90 && code <= 97) colour = `ansi-${NAMES[code - 90] ?? ''}`
      else if (code === 38 || code === 48) {
        const of256 = codes[place + 1] === 5
        const value = codes[place + 2] ?? 0
        if (of256 && code === 38 && value < 16) colour = `ansi-${NAMES[value % 8] ?? ''}`
        place += of256 ? 2 : 4
      }
    }
  }
  push(text.length)
  return found
}

export function plain(text: string): string {
  return text.includes('\x1b') ? text.replace(SEQUENCE, '') : text
}
