/** ⌘K: pages, and by the API's search runs, traces, data sets and evaluations. */
import { useDeferredValue, useEffect, useId, useMemo, useRef, useState, type KeyboardEvent } from 'react'
import { useLocation } from 'wouter'

import { useGet } from './api/hooks'
import { navigation, pages } from './pages'
import { relative, shortId } from './parts/format'
import { Icon, type IconName } from './parts/Icon'
import { common as text, runs as runsText } from './text'

interface Hit {
  id: string
  group: string
  icon: IconName
  title: string
  detail?: string
  to: string
}

const has = (path: string) => pages.some((page) => page.path === path)
const MOST = 6

export function Palette({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [, go] = useLocation()
  const [words, setWords] = useState('')
  const [at, setAt] = useState(0)
  const list = useId()
  const sought = useDeferredValue(words.trim())
  const low = sought.toLowerCase()
  const seeking = sought.length >= 2

  const runs = useGet('/api/tunix/runs', { query: { limit: 200 } }, { enabled: has('/runs/:id'), keep: true })
  const datasets = useGet('/api/datasets', { query: { limit: 200 } }, { enabled: has('/datasets/:key') && seeking })
  const evaluations = useGet('/api/evaluations', { query: { limit: 200 } }, { enabled: has('/evaluations/:id') && seeking })
  const models = useGet('/api/models', { query: { limit: 200 } }, { enabled: has('/models/:name') && seeking })
  const traces = useGet('/api/traces', { query: { q: sought, limit: MOST } }, { enabled: has('/traces/:id') && seeking, keep: true })
  const isId = /^[0-9a-f-]{6,36}$/i.test(sought)
  const run = useGet('/api/tunix/runs/{id}/status', { at: { id: sought || '-' } }, { enabled: isId && has('/runs/:id') })

  const hits = useMemo(() => {
    const within = (...parts: (string | null | undefined)[]) => parts.some((part) => part?.toLowerCase().includes(low))
    const now = new Date()
    const found: Hit[] = []
    for (const page of navigation)
      if (within(page.title)) found.push({ id: page.path, group: text.palette.pages, icon: page.icon, title: page.title, to: page.path })
    for (const page of pages)
      if (page.command && within(page.command))
        found.push({ id: page.path, group: text.palette.pages, icon: 'right', title: page.command, to: page.path })
    if (isId && run.data)
      found.push({
        id: `run-${run.data.run_id}`,
        group: text.palette.runs,
        icon: 'runs',
        title: shortId(run.data.run_id),
        detail: [run.data.status, ...(run.data.mode === 'dry-run' ? [runsText.mode['dry-run']] : [])].join(' · '),
        to: `/runs/${run.data.run_id}`,
      })
    const matching = (runs.data?.data ?? []).filter(
      (each) => each.run_id !== run.data?.run_id && within(each.dataset_key, each.model_id, each.engine, each.status, each.run_id),
    )
    for (const each of matching.slice(0, seeking ? MOST : 4))
      found.push({
        id: `run-${each.run_id}`,
        group: seeking ? text.palette.runs : text.palette.recent,
        icon: 'runs',
        title: `${each.dataset_key} · ${each.model_id}`,
        detail: `${each.status} · ${relative(new Date(each.created_at), now)} · ${shortId(each.run_id)}`,
        to: `/runs/${each.run_id}`,
      })
    if (!seeking) return found
    for (const each of (datasets.data?.data ?? []).filter((one) => within(one.dataset_key)).slice(0, MOST))
      found.push({
        id: `dataset-${each.dataset_key}`,
        group: text.palette.datasets,
        icon: 'datasets',
        title: each.dataset_key,
        to: `/datasets/${encodeURIComponent(each.dataset_key)}`,
      })
    for (const each of (evaluations.data?.data ?? []).filter((one) => within(one.name, one.model_id, one.eval_set, one.id)).slice(0, MOST))
      found.push({
        id: `evaluation-${each.id}`,
        group: text.palette.evaluations,
        icon: 'evaluations',
        title: each.name,
        detail: each.eval_set,
        to: `/evaluations/${each.id}`,
      })
    for (const each of (models.data?.data ?? []).filter((one) => within(one.name, one.description)).slice(0, MOST))
      found.push({
        id: `model-${each.id}`,
        group: text.palette.models,
        icon: 'models',
        title: each.name,
        detail: each.description,
        to: `/models/${encodeURIComponent(each.name)}`,
      })
    for (const each of traces.data?.data ?? [])
      found.push({
        id: `trace-${each.id}`,
        group: text.palette.traces,
        icon: 'traces',
        title: each.prompt_preview.slice(0, 120),
        detail: shortId(each.id),
        to: `/traces/${each.id}`,
      })
    return found
  }, [low, seeking, isId, run.data, runs.data, datasets.data, evaluations.data, models.data, traces.data])

  const chosen = Math.min(at, Math.max(0, hits.length - 1))

  useEffect(() => {
    const shown = dialog.current
    const before = document.activeElement
    if (shown && !shown.open) shown.showModal()
    return () => {
      shown?.close()
      if (before instanceof HTMLElement) before.focus()
    }
  }, [])

  useEffect(() => {
    dialog.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' })
  }, [chosen, hits])

  const open = (hit: Hit) => {
    close()
    go(hit.to)
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const hit = hits[chosen]
    if (event.key === 'ArrowDown') setAt((chosen + 1) % Math.max(1, hits.length))
    else if (event.key === 'ArrowUp') setAt((chosen - 1 + hits.length) % Math.max(1, hits.length))
    else if (event.key === 'Enter' && hit) open(hit)
    else return
    event.preventDefault()
  }

  let group = ''
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions, jsx-a11y/click-events-have-key-events -- a click beside it closes; Escape does too
    <dialog
      ref={dialog}
      className="palette"
      aria-label={text.palette.label}
      onCancel={(event) => {
        event.preventDefault()
        close()
      }}
      onClick={(event) => {
        if (event.target === dialog.current) close()
      }}
    >
      <div className="palette-top">
        <Icon name="search" />
        <input
          type="text"
          role="combobox"
          aria-expanded="true"
          aria-controls={list}
          aria-activedescendant={hits[chosen] ? `${list}${chosen}` : undefined}
          aria-label={text.palette.label}
          placeholder={text.palette.placeholder}
          value={words}
          // The palette is opened to type into it.
          // eslint-disable-next-line jsx-a11y/no-autofocus
          autoFocus
          onChange={(event) => {
            setWords(event.target.value)
            setAt(0)
          }}
          onKeyDown={onKeyDown}
        />
      </div>
      <div role="listbox" id={list} aria-label={text.palette.label} className="hits">
        {hits.map((hit, place) => {
          const head = hit.group !== group
          group = hit.group
          return (
            <div key={hit.id} role="presentation">
              {head && (
                <div className="hit-group" role="presentation">
                  {hit.group}
                </div>
              )}
              {/* eslint-disable-next-line jsx-a11y/click-events-have-key-events -- the keys are the input's */}
              <div
                id={`${list}${place}`}
                role="option"
                tabIndex={-1}
                aria-selected={place === chosen}
                className="hit"
                onMouseMove={() => setAt(place)}
                onClick={() => open(hit)}
              >
                <Icon name={hit.icon} size={16} />
                <span className="hit-title">{hit.title}</span>
                {hit.detail && <span className="quiet small">{hit.detail}</span>}
              </div>
            </div>
          )
        })}
      </div>
      {hits.length === 0 && <p className="quiet pad">{text.palette.nothing(words)}</p>}
      <p className="palette-foot quiet small">{text.palette.hint}</p>
    </dialog>
  )
}
