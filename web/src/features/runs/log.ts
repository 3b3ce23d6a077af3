/** The logs of a run as lines: a pure function of the pieces that came, in the order of their numbers. */
export type Stream = 'stdout' | 'stderr'

export interface Piece {
  seq: number
  stream: Stream
  chunk: string
  encoding?: 'base64'
}

export interface Line {
  text: string
  stream: Stream
}

export interface Log {
  /** Number of the last piece that is in it. */
  readonly seq: number
  /** Whole lines. */
  readonly lines: readonly Line[]
  /** What each stream has begun and not ended. */
  readonly open: Readonly<Record<Stream, string>>
  /** Characters of the whole lines. */
  readonly size: number
  /** Lines at the beginning that are not kept. */
  readonly dropped: number
  /** Place of the first line that looks like an error; -1: none does. */
  readonly error: number
  /** A piece came whose forerunner did not: ask again from `seq`. */
  readonly gap: boolean
}

export const NOTHING: Log = { seq: 0, lines: [], open: { stdout: '', stderr: '' }, size: 0, dropped: 0, error: -1, gap: false }
export const MOST_LINES = 200_000
export const MOST_CHARACTERS = 50_000_000
const LONGEST = 10_000
const ERROR = /(\b|[a-z])(error|exception)\b|\b(traceback|fatal|panic|critical|out of memory|killed)\b/i

/** What a terminal would show of a line: what a carriage return goes back over is written over. */
function settled(text: string): string {
  const line = text.endsWith('\r') ? text.slice(0, -1) : text
  const shown = line.slice(line.lastIndexOf('\r') + 1)
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST)} …` : shown
}

function decoded(piece: Piece): string {
  if (piece.encoding !== 'base64') return piece.chunk
  const bytes = Uint8Array.from(atob(piece.chunk), (letter) => letter.charCodeAt(0))
  return new TextDecoder().decode(bytes)
}

/** The log with pieces taken in: those that it has already are left out, and none is taken before its turn. */
export function take(log: Log, pieces: readonly Piece[]): Log {
  let { seq, size, error } = log
  let gap = false
  const open = { ...log.open }
  const fresh: Line[] = []
  for (const piece of pieces) {
    if (piece.seq <= seq) continue
    if (piece.seq !== seq + 1) {
      gap = true
      break
    }
    seq = piece.seq
    const parts = (open[piece.stream] + decoded(piece)).split('\n')
    open[piece.stream] = parts.pop() ?? ''
    for (const part of parts) {
      const line = { text: settled(part), stream: piece.stream }
      size += line.text.length
      // Looked for as lines come, so that the question is answered at once.
      if (error < 0 && ERROR.test(line.text)) error = log.lines.length + fresh.length
      fresh.push(line)
    }
  }
  if (seq === log.seq) return gap === log.gap ? log : { ...log, gap }
  let lines = log.lines.concat(fresh)
  let { dropped } = log
  if (lines.length > MOST_LINES || size > MOST_CHARACTERS) {
    // A tenth at once, so that it is not done for every line.
    let from = 0
    while (lines.length - from > MOST_LINES * 0.9 || size > MOST_CHARACTERS * 0.9) size -= lines[from++]?.text.length ?? 0
    dropped += from
    lines = lines.slice(from)
    error = error < from ? firstError(lines) : error - from
  }
  return { seq, lines, open, size, dropped, error, gap }
}

/** All that is shown: whole lines, then what is begun. */
export function shown(log: Log): readonly Line[] {
  const begun = (['stdout', 'stderr'] as const).flatMap((stream) =>
    log.open[stream] ? [{ text: settled(log.open[stream]), stream }] : [],
  )
  return begun.length > 0 ? log.lines.concat(begun) : log.lines
}

function firstError(lines: readonly Line[]): number {
  return lines.findIndex((line) => ERROR.test(line.text))
}

/** What finds some words, whatever their case; none: nothing is sought. */
export function pattern(words: string): RegExp | null {
  const sought = words.trim()
  return sought ? new RegExp(sought.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'gi') : null
}

/** Finds the places of the lines that match; of lines that were searched before, only those that came since are. */
export function searcher(): (lines: readonly Line[], sought: RegExp | null) => readonly number[] {
  let known: { lines: readonly Line[]; sought: RegExp | null; places: readonly number[] } = { lines: [], sought: null, places: [] }
  return (lines, sought) => {
    if (!sought) return []
    if (known.lines === lines && known.sought === sought) return known.places
    const grown = known.sought === sought && known.lines[0] === lines[0]
    const from = grown ? Math.max(0, known.lines.length - 2) : 0 // what was last may have been unfinished, of both streams
    const places = grown ? known.places.filter((place) => place < from) : []
    for (let place = from; place < lines.length; place++) {
      if ((lines[place]?.text ?? '').search(sought) >= 0) places.push(place)
    }
    known = { lines, sought, places }
    return places
  }
}
