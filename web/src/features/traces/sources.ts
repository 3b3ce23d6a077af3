/** The sources of traces: choices with their counts, and the one that a file's name suggests. */
import { type Query, type Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { number } from '../../parts/format'
import { traces as text } from '../../text'

/** The word that means "no source" to the API and the command line. */
export const NO_SOURCE = 'none'
const LONGEST = 200

export interface SourceOption {
  value: string
  label: string
}

/** Choices for a source; the current one is always among them. */
export function sourceOptions(counts: readonly Schemas['SourceCount'][], current: string): SourceOption[] {
  const options = counts.map((each) => ({
    value: each.source ?? NO_SOURCE,
    label: text.sourceCount(each.source ?? text.noSource, number(each.count)),
  }))
  if (current === '' || options.some((option) => option.value === current)) return options
  return [...options, { value: current, label: current === NO_SOURCE ? text.noSource : current }]
}

/** Choices for the source of traces that match the other filters. */
export function useSourceOptions(query: Query, current: string): SourceOption[] {
  const counts = useGet('/api/traces/source-counts', { query: { ...query, source: '' } }, { keep: true })
  return sourceOptions(counts.data?.data ?? [], current)
}

/** `train` of `train.jsonl`, as `tunix-rt traces import` takes it; empty where nothing of the name can be shown. */
export function sourceOfFile(name: string): string {
  const stem = name.replace(/(?<=.)\.[^.]+$/, '')
  const printable = [...stem].filter((char) => char === ' ' || !/[\p{C}\p{Z}]/u.test(char)).join('').trim()
  return [...printable].slice(0, LONGEST).join('')
}

/** The address of a page with the traces of a source. */
export const ofSource = (path: string, source: string | null) => (source === null ? path : `${path}?source=${encodeURIComponent(source)}`)
