import type { Problem } from '../../api/client'

export interface Bad {
  line: number
  reason: string
}

/** The lines for which an import was refused as a whole; null where it was refused for something else. */
export function badLines(problem: Pick<Problem, 'faults'>): Bad[] | null {
  const found = problem.faults.flatMap((fault) => {
    const line = /^line (\d+)$/.exec(fault.pointer)?.[1]
    return line === undefined ? [] : [{ line: Number(line), reason: fault.detail }]
  })
  return found.length > 0 && found.length === problem.faults.length ? found : null
}

/** Lines of a file by their numbers, read from its beginning in pieces: a large file is never held whole. */
const CUT = 300

export async function linesOf(file: Blob, numbers: readonly number[]): Promise<Map<number, string>> {
  const wanted = new Set(numbers)
  const last = Math.max(0, ...numbers)
  const found = new Map<number, string>()
  const decoder = new TextDecoder()
  let [at, kept] = [1, '']
  const reader = file.stream().getReader()
  const end = () => {
    if (wanted.has(at)) found.set(at, kept.length > CUT ? `${kept.slice(0, CUT)}…` : kept)
    at += 1
    kept = ''
  }
  while (at <= last) {
    const { done, value } = await reader.read()
    const parts = decoder.decode(value, { stream: !done }).split('\n')
    parts.forEach((part, place) => {
      if (place > 0) end()
      if (wanted.has(at) && kept.length <= CUT) kept += part
    })
    if (done) {
      end()
      break
    }
  }
  await reader.cancel()
  return found
}
