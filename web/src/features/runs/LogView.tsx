import { useVirtualizer } from '@tanstack/react-virtual'
import { flushSync } from 'react-dom'
import { memo, useDeferredValue, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'

import { useGet } from '../../api/hooks'
import { address } from '../../api/client'
import { useLive, type Live } from '../../api/live'
import { bytes } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { ProblemBox } from '../../parts/Problem'
import { runs as text } from '../../text'
import { spans } from './ansi'
import { NOTHING, pattern, searcher, shown, take, type Line, type Log, type Piece } from './log'

const ROW = 19
const TELL_MS = 100 // however fast lines come, the page is drawn ten times a second

/** The log of a run as it comes; pieces are taken in at once, and told together. */
class RunLog {
  private log: Log = NOTHING
  private told: Log = NOTHING
  private timer: ReturnType<typeof setTimeout> | undefined
  private readonly watchers = new Set<() => void>()

  follow(live: Live, run: string): () => void {
    return live.follow({
      run,
      since: () => this.log.seq,
      take: (events) => {
        const pieces = events.filter((event) => event.type === 'log').map((event) => JSON.parse(event.data) as Piece)
        if (pieces.length === 0) return
        this.log = take(this.log, pieces)
        this.timer ??= setTimeout(() => {
          this.timer = undefined
          this.told = this.log
          for (const each of this.watchers) each()
        }, TELL_MS)
        if (this.log.gap) live.again()
      },
    })
  }

  subscribe = (told: () => void): (() => void) => {
    this.watchers.add(told)
    return () => this.watchers.delete(told)
  }

  current = (): Log => this.told
}

function useRunLog(run: string): Log {
  const live = useLive()
  const log = useMemo(() => ({ run, log: new RunLog() }), [run]).log
  useEffect(() => log.follow(live, run), [log, live, run])
  return useSyncExternalStore(log.subscribe, log.current)
}

function marked(words: string, sought: RegExp | null) {
  if (!sought) return words
  const parts = []
  let at = 0
  for (const { index, 0: found } of words.matchAll(sought)) {
    parts.push(words.slice(at, index), <mark key={index}>{found}</mark>)
    at = index + found.length
  }
  return [...parts, words.slice(at)]
}

const Row = memo(function Row({ line, sought, on }: { line: Line; sought: RegExp | null; on: boolean }) {
  return (
    <span className={`log-text ${line.stream} ${on ? 'on' : ''}`}>
      {spans(line.text).map((span, place) => (
        <span key={place} className={span.className || undefined}>
          {marked(span.text, sought)}
        </span>
      ))}
    </span>
  )
})

function Download({ id }: { id: string }) {
  const [open, setOpen] = useState(false)
  const files = useGet('/api/tunix/runs/{id}/artifacts', { at: { id } }, { enabled: open })
  return (
    <div className="menu-holder">
      <button type="button" className="ghost" popoverTarget={`download-${id}`}>
        <Icon name="download" size={16} /> {text.logs.download}
      </button>
      <div id={`download-${id}`} popover="auto" className="menu" onToggle={(event) => setOpen(event.newState === 'open')}>
        {files.error && <ProblemBox problem={files.error} />}
        {files.data?.data
          .filter((file) => file.kind === 'log')
          .map((file) => (
            <a key={file.path} className="menu-item" download href={address('/api/tunix/runs/{id}/artifacts/{path}', { at: { id, path: file.path } })}>
              <span className="mono grow">{file.path}</span>
              <span className="quiet small">{bytes(file.size)}</span>
            </a>
          ))}
      </div>
    </div>
  )
}

export function LogView({ id, over }: { id: string; over: boolean }) {
  const log = useRunLog(id)
  const lines = useMemo(() => shown(log), [log])
  const [words, setWords] = useState('')
  const latest = useDeferredValue(words)
  const sought = useMemo(() => pattern(latest), [latest])
  const [search] = useState(searcher)
  const found = useMemo(() => search(lines, sought), [search, lines, sought])
  const [only, setOnly] = useState(false)
  const places = only && sought ? found : null // those that are shown; null: all
  const count = places?.length ?? lines.length
  const [at, setAt] = useState(0)
  const [marked_, setMarked] = useState<number | null>(null)
  const [follow, setFollow] = useState(!over)
  const [note, setNote] = useState('')
  const scroller = useRef<HTMLDivElement>(null)
  const mine = useRef(0) // when we scrolled: not the reader
  const rows = useVirtualizer({ count, getScrollElement: () => scroller.current, estimateSize: () => ROW, overscan: 30 })

  useEffect(() => {
    if (!follow || lines.length === 0) return
    mine.current = Date.now()
    const box = scroller.current
    if (box) box.scrollTop = box.scrollHeight
  }, [follow, lines])

  const go = (line: number) => {
    setFollow(false)
    setMarked(line)
    mine.current = Date.now()
    rows.scrollToIndex(places ? Math.max(0, places.indexOf(line)) : line, { align: 'center' })
  }
  const step = (by: number) => {
    if (found.length === 0) return
    const next = marked_ === null ? 0 : (at + by + found.length) % found.length
    setAt(next)
    go(found[next] ?? 0)
  }

  return (
    <div className="log-view">
      <div className="log-bar">
        <label className="log-search">
          <span className="unseen">{text.logs.search}</span>
          <Icon name="search" size={16} />
          <input
            type="search"
            value={words}
            placeholder={text.logs.search}
            onChange={(event) => {
              setWords(event.target.value)
              setAt(0)
              setMarked(null)
            }}
            onKeyDown={(event) => {
              if (event.key !== 'Enter') return
              event.preventDefault()
              step(event.shiftKey ? -1 : 1)
            }}
          />
        </label>
        {sought && (
          <>
            <span className="quiet small num" role="status">
              {text.logs.matches(marked_ === null ? 0 : at + 1, found.length)}
            </span>
            <button type="button" className="ghost square" aria-label={text.logs.previous} disabled={found.length === 0} onClick={() => step(-1)}>
              <Icon name="up" size={16} />
            </button>
            <button type="button" className="ghost square" aria-label={text.logs.next} disabled={found.length === 0} onClick={() => step(1)}>
              <Icon name="down" size={16} />
            </button>
          </>
        )}
        <button
          type="button"
          className="ghost"
          onClick={() => {
            setNote(log.error < 0 ? text.logs.noError : '')
            if (log.error < 0) return
            flushSync(() => setOnly(false))
            go(log.error)
          }}
        >
          <Icon name="warning" size={16} /> {text.logs.firstError}
        </button>
        <span className="quiet small" role="status">
          {note}
        </span>
        <span className="grow" />
        {sought && (
          <label className="inline">
            <input type="checkbox" checked={only} onChange={(event) => setOnly(event.target.checked)} /> <span>{text.logs.only}</span>
          </label>
        )}
        <label className="inline">
          <input type="checkbox" checked={follow} onChange={(event) => setFollow(event.target.checked)} /> <span>{text.logs.follow}</span>
        </label>
        <Download id={id} />
      </div>
      <div
        ref={scroller}
        className="log-lines"
        role="log"
        aria-live="off"
        aria-label={text.logs.label}
        tabIndex={0}
        onScroll={(event) => {
          const box = event.currentTarget
          const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < ROW * 2
          if (atEnd && !over) setFollow(true)
          else if (!atEnd && Date.now() - mine.current > 150) setFollow(false)
        }}
      >
        {lines.length === 0 && <p className="quiet pad">{over ? text.logs.emptyOver : text.logs.empty}</p>}
        <div style={{ height: rows.getTotalSize(), position: 'relative', minWidth: 'max-content' }}>
          {rows.getVirtualItems().map((item) => {
            const at = places ? (places[item.index] ?? 0) : item.index
            const line = lines[at]
            return (
              line && (
                <div key={item.key} className="log-row" style={{ transform: `translateY(${item.start}px)`, height: ROW }}>
                  <span className="log-number">{(log.dropped + at + 1).toLocaleString('en')}</span>
                  <Row line={line} sought={sought} on={at === marked_} />
                </div>
              )
            )
          })}
        </div>
      </div>
      <p className="quiet small">
        {text.logs.lines(log.dropped + lines.length)}
        {log.dropped > 0 && ` · ${text.logs.dropped(log.dropped)}`}
      </p>
    </div>
  )
}
