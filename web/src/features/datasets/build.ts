/** The form of a build, and what it asks of the API. */
import type { Schemas } from '../../api/client'
import { bodyOf } from '../traces/filters'

export type Request = Schemas['BuildRequest']

export interface Form {
  name: string
  version: string
  source: string
  q: string
  min_steps: string
  max_steps: string
  created_after: string
  created_before: string
  meta: string
  limit: string
  strategy: 'latest' | 'random'
  seed: string
  splits: { name: string; percent: string }[]
  groupBy: 'trace' | 'prompt' | 'meta'
  groupKey: string
  parent: string | null
}

export const EMPTY: Form = {
  name: '',
  version: '',
  source: '',
  q: '',
  min_steps: '',
  max_steps: '',
  created_after: '',
  created_before: '',
  meta: '',
  limit: '',
  strategy: 'latest',
  seed: '0',
  splits: [{ name: 'eval', percent: '10' }],
  groupBy: 'trace',
  groupKey: '',
  parent: null,
}

const whole = (typed: string): number | undefined => (typed.trim() === '' ? undefined : Number(typed))

/** The request of a form; what is left empty is left out. `name` stands in where none is typed yet. */
export function requestOf(form: Form, name = form.name.trim()): Request {
  const splits = form.splits.flatMap(({ name: split, percent }) =>
    split.trim() === '' || percent.trim() === '' ? [] : [[split.trim(), Number(percent) / 100] as const],
  )
  return {
    name,
    version: form.version.trim() || null,
    filters: bodyOf((name) => form[name]) as Request['filters'],
    limit: whole(form.limit) ?? null,
    selection_strategy: form.strategy,
    seed: form.strategy === 'random' ? (whole(form.seed) ?? null) : null,
    splits: Object.fromEntries(splits),
    group_by: form.groupBy === 'meta' ? (form.groupKey.trim() ? `meta.${form.groupKey.trim()}` : 'trace') : form.groupBy,
    parent: form.parent,
  }
}

/** The form that would build a version again: to change it, and seal the next one. */
export function formOf(manifest: Schemas['Manifest']): Form {
  const filters = manifest.filters as Record<string, string | number | Record<string, string> | undefined>
  const plain = (name: string) => {
    const value = filters[name]
    return value === undefined || typeof value === 'object' ? '' : String(value)
  }
  const [meta] = Object.entries((filters['meta'] ?? {}) as Record<string, string>)
  const byMeta = manifest.group_by.startsWith('meta.')
  return {
    ...EMPTY,
    name: manifest.name,
    source: plain('source'),
    q: plain('q'),
    min_steps: plain('min_steps'),
    max_steps: plain('max_steps'),
    created_after: plain('created_after').slice(0, 10),
    created_before: plain('created_before').slice(0, 10),
    meta: meta ? meta.join('=') : '',
    limit: manifest.limit === null ? '' : String(manifest.limit),
    strategy: manifest.selection_strategy === 'random' ? 'random' : 'latest',
    seed: String(manifest.seed ?? 0),
    splits: Object.entries(manifest.shares).map(([name, share]) => ({ name, percent: String(Number((share * 100).toPrecision(12))) })),
    groupBy: byMeta ? 'meta' : manifest.group_by === 'prompt' ? 'prompt' : 'trace',
    groupKey: byMeta ? manifest.group_by.slice('meta.'.length) : '',
    parent: manifest.dataset_key,
  }
}

/** The same build as options of the command line. */
export function optionsOf(request: Request): string[] {
  const filters = (request.filters ?? {}) as Record<string, unknown>
  const { source, meta, ...others } = filters
  return [
    request.name || 'NAME',
    ...(request.version ? ['--version', request.version] : []),
    ...(source ? ['--source', String(source)] : []),
    ...Object.entries((meta ?? {}) as Record<string, string>).flatMap(([key, value]) => ['--filter', `meta.${key}=${value}`]),
    ...Object.entries(others).flatMap(([key, value]) => ['--filter', `${key}=${String(value)}`]),
    ...(request.limit ? ['--limit', String(request.limit)] : []),
    ...(request.selection_strategy === 'random' ? ['--strategy', 'random', '--seed', String(request.seed)] : []),
    ...Object.entries(request.splits ?? {}).flatMap(([name, share]) => ['--split', `${name}=${share}`]),
    ...(request.group_by && request.group_by !== 'trace' ? ['--group-by', request.group_by] : []),
  ]
}
