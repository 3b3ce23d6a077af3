import { useSyncExternalStore } from 'react'

import { relative } from './format'

// Made once: it takes a millisecond, and a list has hundreds of times.
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' })

// One clock for all times on the page.
let now = new Date()
let timer: ReturnType<typeof setInterval> | undefined
const watchers = new Set<() => void>()

function watch(told: () => void): () => void {
  watchers.add(told)
  timer ??= setInterval(() => {
    now = new Date()
    for (const each of watchers) each()
  }, 10_000)
  return () => {
    watchers.delete(told)
    if (watchers.size === 0 && timer) {
      clearInterval(timer)
      timer = undefined
    }
  }
}

function current(): Date {
  if (!timer) now = new Date()
  else if (Date.now() - now.getTime() > 60_000) now = new Date()
  return now
}

/** How long ago; the exact time on hover, in the reader's zone. */
export function Time({ at }: { at: string | null | undefined }) {
  const here = useSyncExternalStore(watch, () => Math.floor(current().getTime() / 5000) * 5000)
  if (!at) return <span className="quiet">–</span>
  const when = new Date(at)
  return (
    <time dateTime={at} title={`${EXACT.format(when)}\n${at}`}>
      {relative(when, new Date(Math.max(here, Date.now() - 60_000)))}
    </time>
  )
}
