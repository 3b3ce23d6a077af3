import { useEffect, useRef, useState } from 'react'

import { common as text } from '../text'
import { usePlace } from './place'

export type Filter =
  | { kind: 'text' | 'search' | 'number' | 'date'; name: string; label: string; placeholder?: string }
  /** `any`: what no choice means, where that is not everything. */
  | { kind: 'choice'; name: string; label: string; any?: string; options: readonly (string | { value: string; label: string })[] }
  | { kind: 'choices'; name: string; label: string; options: readonly { value: string; label: string }[] }

const WAIT_MS = 250

function Field({ filter, value, set }: { filter: Exclude<Filter, { kind: 'choice' | 'choices' }>; value: string; set: (value: string) => void }) {
  const [typed, setTyped] = useState(value)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  const told = useRef(value)
  useEffect(() => {
    // The address was changed by somebody else: Back, a link, "clear".
    if (value !== told.current) {
      told.current = value
      clearTimeout(timer.current)
      setTyped(value)
    }
  }, [value])
  useEffect(() => () => clearTimeout(timer.current), [])
  const tell = (next: string) => {
    told.current = next
    set(next)
  }
  return (
    <label className="filter">
      <span>{filter.label}</span>
      <input
        type={filter.kind === 'search' ? 'search' : filter.kind === 'date' ? 'date' : filter.kind === 'number' ? 'number' : 'text'}
        value={typed}
        placeholder={filter.placeholder}
        onChange={(event) => {
          const next = event.target.value
          setTyped(next)
          clearTimeout(timer.current)
          timer.current = setTimeout(() => tell(next), WAIT_MS)
        }}
        onKeyDown={(event) => {
          if (event.key !== 'Enter') return
          clearTimeout(timer.current)
          tell(typed)
        }}
      />
    </label>
  )
}

/** Filters of a list; their values are in the address under their names. */
export function Filters({ filters, label }: { filters: readonly Filter[]; label: string }) {
  const place = usePlace()
  const some = filters.some((filter) => place.params.has(filter.name))
  return (
    <search className="filters" aria-label={label}>
      {filters.map((filter) =>
        filter.kind === 'choice' ? (
          <label key={filter.name} className="filter">
            <span>{filter.label}</span>
            <select value={place.get(filter.name)} onChange={(event) => place.set({ [filter.name]: event.target.value })}>
              <option value="">{filter.any ?? text.all}</option>
              {filter.options.map((option) => {
                const one = typeof option === 'string' ? { value: option, label: option } : option
                return (
                  <option key={one.value} value={one.value}>
                    {one.label}
                  </option>
                )
              })}
            </select>
          </label>
        ) : filter.kind === 'choices' ? (
          <fieldset key={filter.name} className="filter chips">
            <legend>{filter.label}</legend>
            {filter.options.map((option) => {
              const chosen = place.all(filter.name)
              const on = chosen.includes(option.value)
              return (
                <button
                  key={option.value}
                  type="button"
                  className="chip"
                  aria-pressed={on}
                  onClick={() =>
                    place.set({ [filter.name]: on ? chosen.filter((each) => each !== option.value) : [...chosen, option.value] })
                  }
                >
                  {option.label}
                </button>
              )
            })}
          </fieldset>
        ) : (
          <Field key={filter.name} filter={filter} value={place.get(filter.name)} set={(value) => place.set({ [filter.name]: value })} />
        ),
      )}
      {some && (
        <button type="button" className="ghost" onClick={() => place.set(Object.fromEntries(filters.map((filter) => [filter.name, null])))}>
          {text.clearFilters}
        </button>
      )}
    </search>
  )
}
