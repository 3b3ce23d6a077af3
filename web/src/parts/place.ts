/** The place: what a page shows is in its address, so that a link shows the same and Back goes back. */
import { useCallback, useMemo } from 'react'
import { useLocation, useSearch } from 'wouter'

export type Patch = Record<string, string | readonly string[] | null | undefined>

export interface Place {
  params: URLSearchParams
  /** One value; empty where there is none. */
  get: (name: string) => string
  all: (name: string) => string[]
  /** Change some; null or '' takes one out. By default the present address is replaced. */
  set: (patch: Patch, how?: { push?: boolean }) => void
}

export function patched(search: string, patch: Patch): string {
  const params = new URLSearchParams(search)
  for (const [name, value] of Object.entries(patch)) {
    params.delete(name)
    for (const one of typeof value === 'string' ? [value] : (value ?? [])) if (one !== '') params.append(name, one)
  }
  return params.toString()
}

export function usePlace(): Place {
  const search = useSearch()
  const [path, go] = useLocation()
  const params = useMemo(() => new URLSearchParams(search), [search])
  const set = useCallback(
    (patch: Patch, how: { push?: boolean } = {}) => {
      // Read when it is called: two changes in one event must not undo each other.
      const asked = patched(window.location.search, patch)
      go(asked ? `${path}?${asked}` : path, { replace: !how.push })
    },
    [go, path],
  )
  return useMemo(
    () => ({ params, get: (name) => params.get(name) ?? '', all: (name) => params.getAll(name), set }),
    [params, set],
  )
}
