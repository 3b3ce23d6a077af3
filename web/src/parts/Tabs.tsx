import { useId, type KeyboardEvent, type ReactNode } from 'react'

import { usePlace } from './place'

export interface Tab {
  id: string
  name: string
  /** A figure beside the name. */
  count?: number | undefined
  content: () => ReactNode
}

/** Tabs whose choice is in the address (`?tab=`); arrows move between them. */
export function Tabs({ label, tabs, param = 'tab' }: { label: string; tabs: readonly Tab[]; param?: string }) {
  const place = usePlace()
  const base = useId()
  const chosen = tabs.find((tab) => tab.id === place.get(param)) ?? tabs[0]
  if (!chosen) return null
  const first = tabs[0]?.id
  const choose = (id: string) => place.set({ [param]: id === first ? null : id }, { push: true })
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const at = tabs.indexOf(chosen)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    const next = tabs[(to + tabs.length) % tabs.length]
    if (!next) return
    choose(next.id)
    document.getElementById(`${base}${next.id}`)?.focus()
  }
  return (
    <div className="tabbed">
      {/* The list itself is not a stop: its tabs are. */}
      {/* eslint-disable-next-line jsx-a11y/interactive-supports-focus */}
      <div role="tablist" aria-label={label} className="tabs" onKeyDown={onKeyDown}>
        {tabs.map((tab) => (
          <button
            key={tab.id}
            id={`${base}${tab.id}`}
            type="button"
            role="tab"
            aria-selected={tab === chosen}
            aria-controls={`${base}panel`}
            tabIndex={tab === chosen ? 0 : -1}
            onClick={() => choose(tab.id)}
          >
            {tab.name}
            {tab.count !== undefined && <span className="count">{tab.count.toLocaleString('en')}</span>}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${base}panel`} aria-labelledby={`${base}${chosen.id}`} tabIndex={0} className="tabpanel">
        {chosen.content()}
      </div>
    </div>
  )
}
