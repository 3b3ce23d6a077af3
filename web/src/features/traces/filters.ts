import type { Query, Schemas } from '../../api/client'
import type { Filter } from '../../parts/Filters'
import type { Place } from '../../parts/place'
import { traces as text } from '../../text'

/** The filters of a list of traces, given the choices for its source. */
export const filtersOf = (sources: readonly { value: string; label: string }[]): Filter[] => [
  { kind: 'search', name: 'q', label: text.filters.words },
  { kind: 'choice', name: 'source', label: text.filters.source, options: sources },
  { kind: 'number', name: 'min_steps', label: text.filters.least },
  { kind: 'number', name: 'max_steps', label: text.filters.most },
  { kind: 'date', name: 'created_after', label: text.filters.after },
  { kind: 'date', name: 'created_before', label: text.filters.before },
  { kind: 'text', name: 'meta', label: text.filters.meta, placeholder: text.filters.metaPlaceholder },
]
const PLAIN = ['q', 'source', 'min_steps', 'max_steps', 'created_after', 'created_before'] as const
export type FilterName = (typeof PLAIN)[number] | 'meta'

/** A source is chosen, not typed: its spaces are its own. */
const clean = (name: FilterName, value: string) => (name === 'source' ? value : value.trim())

/** `difficulty=3` is a key of meta and its value; without both there is nothing to ask. */
export function metaOf(words: string): [string, string] | null {
  const at = words.indexOf('=')
  const key = words.slice(0, at).trim()
  const value = words.slice(at + 1).trim()
  return at < 1 || key === '' || value === '' ? null : [key, value]
}

export function queryOf(place: Pick<Place, 'get'>): Query {
  const meta = metaOf(place.get('meta'))
  return {
    ...Object.fromEntries(PLAIN.map((name) => [name, clean(name, place.get(name))])),
    ...(meta ? { [`meta.${meta[0]}`]: meta[1] } : {}),
  }
}

/** The same as the `filters` of a request's body; what is empty is left out. */
export function bodyOf(get: (name: FilterName) => string): Partial<Schemas['TraceFilters']> {
  const meta = metaOf(get('meta'))
  const typed = (name: FilterName) => clean(name, get(name)) || undefined
  const count = (name: FilterName) => (typed(name) === undefined ? undefined : Number(typed(name)))
  const midnight = (name: FilterName) => (typed(name) === undefined ? undefined : `${get(name)}T00:00:00Z`)
  const filters = {
    source: typed('source'),
    q: typed('q'),
    meta: meta ? { [meta[0]]: meta[1] } : undefined,
    min_steps: count('min_steps'),
    max_steps: count('max_steps'),
    created_after: midnight('created_after'),
    created_before: midnight('created_before'),
  }
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined))
}

/** The same as options of the command line. */
export function optionsOf(place: Pick<Place, 'get'>): string[] {
  const meta = metaOf(place.get('meta'))
  return [
    ...PLAIN.flatMap((name) => (clean(name, place.get(name)) ? [`--${name.replace('_', '-')}`, clean(name, place.get(name))] : [])),
    ...(meta ? ['--meta', meta.join('=')] : []),
  ]
}
