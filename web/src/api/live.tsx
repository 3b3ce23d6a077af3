/** The one live connection of a tab: what happens to all runs, and the logs of the run that is looked at.
 *
 * It comes back by itself after sleep, a lost network or a new server, with the number of the last piece it has.
 */
import { useQueryClient, type InfiniteData, type QueryClient } from '@tanstack/react-query'
import { createContext, useContext, useEffect, useMemo, useSyncExternalStore, type ReactNode } from 'react'

import type { Schemas } from './client'
import { Parser, type ServerEvent } from './sse'

export type LiveState = 'off' | 'connecting' | 'open'
export type RunRow = Schemas['RunRow']

/** Somebody who follows the logs of a run. */
export interface Follower {
  run: string
  /** Number of the last piece that is known. */
  since: () => number
  take: (events: ServerEvent[]) => void
}

const SILENT_MS = 40_000 // the server says something every 15 s
const LONGEST_MS = 10_000

export class Live {
  state: LiveState = 'off'
  private follower: Follower | null = null
  private running = false
  private heard = 0
  private failures = 0
  private controller: AbortController | null = null
  private pause: { end: () => void } | null = null
  private readonly watchers = new Set<() => void>()
  private readonly takers = new Set<(events: ServerEvent[]) => void>()
  private readonly comers = new Set<() => void>()

  subscribe = (told: () => void): (() => void) => {
    this.watchers.add(told)
    return () => this.watchers.delete(told)
  }

  /** Be told of events that are of no single run's logs. */
  onEvents(take: (events: ServerEvent[]) => void): () => void {
    this.takers.add(take)
    return () => this.takers.delete(take)
  }

  /** Be told when the connection stands again after it was lost: what was missed must be asked for. */
  onReturn(told: () => void): () => void {
    this.comers.add(told)
    return () => this.comers.delete(told)
  }

  start(): () => void {
    this.running = true
    void this.loop()
    const wake = () => {
      if (document.visibilityState === 'visible' && Date.now() - this.heard > SILENT_MS / 2) this.again()
    }
    const watchdog = setInterval(() => {
      if (this.state === 'open' && Date.now() - this.heard > SILENT_MS) this.again()
    }, 5000)
    document.addEventListener('visibilitychange', wake)
    window.addEventListener('online', wake)
    return () => {
      this.running = false
      clearInterval(watchdog)
      document.removeEventListener('visibilitychange', wake)
      window.removeEventListener('online', wake)
      this.controller?.abort()
      this.pause?.end()
      this.to('off')
    }
  }

  /** Follow a run's logs, instead of another's. */
  follow(follower: Follower): () => void {
    this.follower = follower
    this.again()
    return () => {
      if (this.follower !== follower) return
      this.follower = null
      this.again()
    }
  }

  again(): void {
    this.failures = 0
    this.controller?.abort()
    this.pause?.end()
  }

  private to(state: LiveState): void {
    if (this.state === state) return
    this.state = state
    for (const told of this.watchers) told()
  }

  private async loop(): Promise<void> {
    let lost = false
    while (this.running) {
      const controller = (this.controller = new AbortController())
      try {
        await this.read(controller.signal, () => {
          if (lost) for (const told of this.comers) told()
          lost = false
        })
      } catch {
        // Broken off, refused, or asked to stop: in each case we come back.
      }
      if (!this.running) return
      if (controller.signal.aborted) {
        if (this.state !== 'open') lost = true
        continue
      }
      lost = true
      this.to('connecting')
      const wait = Math.min(LONGEST_MS, 500 * 2 ** this.failures)
      this.failures += 1
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, wait)
        this.pause = {
          end: () => {
            clearTimeout(timer)
            resolve()
          },
        }
      })
      this.pause = null
    }
  }

  private async read(signal: AbortSignal, opened: () => void): Promise<void> {
    const { follower } = this
    const since = follower?.since() ?? 0
    const query = follower ? `?run=${encodeURIComponent(follower.run)}${since ? `&since_seq=${since}` : ''}` : ''
    const answer = await fetch(`/api/events${query}`, { headers: { accept: 'text/event-stream' }, signal })
    if (!answer.ok || !answer.body) {
      if (answer.status === 404 && this.follower === follower) this.follower = null
      throw new Error(String(answer.status))
    }
    this.failures = 0
    this.heard = Date.now()
    this.to('open')
    opened()
    const parser = new Parser()
    const reader = answer.body.pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array<ArrayBuffer>, string>).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      this.heard = Date.now()
      const events = parser.push(value)
      const ofRun = events.filter((event) => event.type === 'log' || event.type === 'status' || event.type === 'end')
      const others = events.filter((event) => event.type === 'run' || event.type === 'changed')
      if (ofRun.length > 0 && follower === this.follower) follower?.take(ofRun)
      if (others.length > 0) for (const take of this.takers) take(others)
    }
  }
}

interface RunPages {
  data: RunRow[]
  pagination: unknown
}

const FINAL = new Set<string>(['completed', 'failed', 'timeout', 'cancelled'])

/** What is asked again when there is more of something; what is not shown waits until it is. */
const CHANGES: Record<string, readonly string[]> = {
  runs: ['/api/tunix/runs', '/api/tunix/runs/{id}', '/api/tunix/runs/{id}/checkpoints', '/api/workers'],
  ended: ['/api/tunix/runs/{id}/artifacts'],
  traces: ['/api/traces', '/api/traces/{id}', '/api/traces/source-counts'],
  datasets: ['/api/datasets'],
  // An evaluation gives its run a score, and a board new ranks.
  evaluations: ['/api/evaluations', '/api/tunix/evaluations', '/api/tunix/runs', '/api/tunix/runs/{id}', '/api/tunix/runs/{id}/evaluation'],
  evaluation_queue: ['/api/evaluations/queue', '/api/tunix/runs/{id}'],
  baselines: ['/api/regression/baselines'],
}
const REST_MS = 500

/** Asks again for what has changed; however fast things change, one round after the other. */
export function renewer(client: QueryClient, rest = REST_MS): (names: Iterable<string>) => void {
  const waiting = new Set<string>()
  let busy = false
  const work = async () => {
    busy = true
    while (waiting.size > 0) {
      const paths = new Set([...waiting].flatMap((name) => CHANGES[name] ?? []))
      waiting.clear()
      await Promise.all([...paths].map((path) => client.invalidateQueries({ queryKey: [path] })))
      await new Promise((resolve) => setTimeout(resolve, rest))
    }
    busy = false
  }
  return (names) => {
    for (const name of names) waiting.add(name)
    if (!busy) void work()
  }
}

/** Bring a run's row up to date wherever it is shown; the names of what must be asked for again. */
export function takeRun(client: QueryClient, row: RunRow): string[] {
  let known = false
  let before: RunRow | undefined
  const renewed = (data: RunRow[]) =>
    data.map((each) => {
      if (each.run_id !== row.run_id) return each
      known = true
      before = each
      return { ...each, ...row }
    })
  client.setQueriesData<InfiniteData<RunPages> | RunPages>({ queryKey: ['/api/tunix/runs'] }, (found) => {
    if (!found) return found
    if ('pages' in found) return { ...found, pages: found.pages.map((page) => ({ ...page, data: renewed(page.data) })) }
    return { ...found, data: renewed(found.data) }
  })
  const changed = !known || before?.status !== row.status
  client.setQueriesData<RunRow>({ queryKey: ['/api/tunix/runs/{id}'] }, (found) =>
    found && found.run_id === row.run_id ? { ...found, ...row } : found,
  )
  // A new run, or one that may no longer fit what is filtered for.
  return changed ? (FINAL.has(row.status) ? ['runs', 'ended'] : ['runs']) : []
}

const Context = createContext<Live | null>(null)

export function LiveProvider({ children }: { children: ReactNode }) {
  const live = useMemo(() => new Live(), [])
  const client = useQueryClient()
  useEffect(() => {
    const renew = renewer(client)
    const stops = [
      live.onEvents((events) => {
        for (const event of events) {
          if (event.type === 'run') renew(takeRun(client, JSON.parse(event.data) as RunRow))
          else renew(JSON.parse(event.data) as string[])
        }
      }),
      live.onReturn(() => void client.invalidateQueries()),
      live.start(),
    ]
    return () => {
      for (const stop of stops) stop()
    }
  }, [live, client])
  return <Context value={live}>{children}</Context>
}

export function useLive(): Live {
  const live = useContext(Context)
  if (!live) throw new Error('outside of LiveProvider')
  return live
}

export function useLiveState(): LiveState {
  const live = useLive()
  return useSyncExternalStore(live.subscribe, () => live.state)
}
