/** When the reader was here before; kept by the browser. A visit ends with half an hour of absence. */
const ABSENT_MS = 30 * 60_000

let found: string | null | undefined

function keep(): void {
  try {
    localStorage.setItem('seen', new Date().toISOString())
  } catch {
    // A browser that keeps nothing has no last visit.
  }
}

/** The end of the last visit; null where there was none. */
export function lastVisit(): string | null {
  if (found !== undefined) return found
  let seen: string | null = null
  try {
    seen = localStorage.getItem('seen')
    const visit = localStorage.getItem('visit')
    if (seen && Date.now() - Date.parse(seen) < ABSENT_MS) seen = visit
    else if (seen) localStorage.setItem('visit', seen)
  } catch {
    seen = null
  }
  keep()
  document.addEventListener('visibilitychange', keep)
  found = seen || null
  return found
}
