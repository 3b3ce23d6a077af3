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
  /** Lines at the beginning that are not kept. */
  readonly dropped: number
  /** A piece came whose forerunner did not: ask again from `seq`. */
  readonly gap: boolean
}

export const NOTHING: Log = { seq: 0, lines: [], open: { stdout: '', stderr: '' }, dropped: 0, gap: false }
export const MOST_LINES = 200_000
const LONGEST = 10_000

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
  let { seq } = log
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
    for (const part of parts) fresh.push({ text: settled(part), stream: piece.stream })
  }
  if (seq === log.seq) return gap === log.gap ? log : { ...log, gap }
  let lines = log.lines.concat(fresh)
  let { dropped } = log
  if (lines.length > MOST_LINES) {
    // A tenth at once, so that it is not done for every line.
    const most = Math.floor(MOST_LINES * 0.9)
    dropped += lines.length - most
    lines = lines.slice(-most)
  }
  return { seq, lines, open, dropped, gap }
}

/** All that is shown: whole lines, then what is begun. */
export function shown(log: Log): readonly Line[] {
  const begun = (['stdout', 'stderr'] as const).flatMap((stream) =>
    log.open[stream] ? [{ text: settled(log.open[stream]), stream }] : [],
  )
  return begun.length > 0 ? log.lines.concat(begun) : log.lines
}

const ERROR = /(\b|[a-z])(error|exception)\b|\b(traceback|fatal|panic|critical|out of memory|killed)\b/i

export function firstError(lines: readonly Line[]): number {
  return lines.findIndex((line) => ERROR.test(line.text))
}

/** The places of the lines that hold some words, whatever their case. */
export function matches(lines: readonly Line[], words: string): number[] {
  if (!words) return []
  const low = words.toLowerCase()
  const found: number[] = []
  for (let place = 0; place < lines.length; place++) if (lines[place]?.text.toLowerCase().includes(low)) found.push(place)
  return found
}
