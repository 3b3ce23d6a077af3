import type { Query } from '../../api/client'
import type { Filter } from '../../parts/Filters'
import type { Place } from '../../parts/place'
import { traces as text } from '../../text'

/** What the address says of a list of traces. */
export const FILTERS: Filter[] = [
  { kind: 'search', name: 'q', label: text.filters.words },
  { kind: 'text', name: 'source', label: text.filters.source },
  { kind: 'number', name: 'min_steps', label: text.filters.least },
  { kind: 'number', name: 'max_steps', label: text.filters.most },
  { kind: 'date', name: 'created_after', label: text.filters.after },
  { kind: 'date', name: 'created_before', label: text.filters.before },
  { kind: 'text', name: 'meta', label: text.filters.meta, placeholder: text.filters.metaPlaceholder },
]
const PLAIN = ['q', 'source', 'min_steps', 'max_steps', 'created_after', 'created_before'] as const

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
    ...Object.fromEntries(PLAIN.map((name) => [name, place.get(name).trim()])),
    ...(meta ? { [`meta.${meta[0]}`]: meta[1] } : {}),
  }
}

/** The same as options of the command line. */
export function optionsOf(place: Pick<Place, 'get'>): string[] {
  const meta = metaOf(place.get('meta'))
  return [
    ...PLAIN.flatMap((name) => (place.get(name).trim() ? [`--${name.replace('_', '-')}`, place.get(name).trim()] : [])),
    ...(meta ? ['--meta', meta.join('=')] : []),
  ]
}
