/** A list of any length, of which a window is kept: the pages around what is looked at, fetched as they are needed. */
import { useInfiniteQuery, type InfiniteData } from '@tanstack/react-query'
import { useCallback, useMemo, useState } from 'react'

import { get, type ListPath, type Problem, type Query, type Row } from './client'
import { keyOf } from './hooks'

/** A page's place, with those before it: the way back, since a cursor leads forward only.
 *
 * A class, since TanStack Query compares plain objects with all that hangs on them: here a thousand others.
 */
class PagePlace {
  constructor(
    readonly index: number,
    readonly cursor: string | null,
    readonly before: PagePlace | null,
  ) {}
}

interface Answer<T> {
  data: T[]
  pagination: { next_cursor: string | null }
}

export interface List<T> {
  /** Those of the window. */
  rows: T[]
  /** Rows before the window. */
  offset: number
  /** Rows that are known of: before, in and after the window. */
  count: number
  /** Nothing was answered yet. */
  isLoading: boolean
  /** What is shown is the answer to an earlier question. */
  isFormer: boolean
  problem: Problem | null
  hasMore: boolean
  isFetchingMore: boolean
  more: () => void
  /** See to it that these rows, of all, come into the window. */
  reach: (from: number, to: number) => void
  again: () => void
}

export const WINDOW_PAGES = 10
const NEAR = 20 // rows before an end of the window at which the next page is fetched
let jumps = 0 // each begins a window of its own
const FIRST = new PagePlace(0, null, null)

interface Known {
  name: string
  /** Where the window began, and by which jump. */
  start: PagePlace
  jump: number
  farthest: PagePlace
  count: number
}
const NOTHING: Known = { name: '', start: FIRST, jump: 0, farthest: FIRST, count: 0 }

/** The place of a page on the way to a later one. */
function placeAt(place: PagePlace, index: number): PagePlace {
  let found = place
  while (found.before && found.index > index) found = found.before
  return found
}

/** A list, page by page. */
export function useList<P extends ListPath>(
  path: P,
  { at, query = {}, limit = 100 }: { at?: Record<string, string>; query?: Query; limit?: number } = {},
  { keep, ...asking }: { enabled?: boolean; staleTime?: number; keep?: boolean } = {},
): List<Row<P>> {
  const key = [...keyOf(path, { at, query }), `limit=${limit}`]
  const name = key.join(' ')
  const [known, setKnown] = useState<Known>({ ...NOTHING, name })
  const here = known.name === name ? known : { ...NOTHING, name }
  const found = useInfiniteQuery<Answer<Row<P>>, Problem, InfiniteData<Answer<Row<P>>, PagePlace>, string[], PagePlace>({
    queryKey: here.jump === 0 ? key : [...key, `jump=${here.jump}`],
    queryFn: async ({ pageParam, signal }) => {
      const answer: unknown = await get(path, { at, query: { ...query, limit, cursor: pageParam.cursor }, signal })
      return answer as Answer<Row<P>>
    },
    initialPageParam: here.start,
    getNextPageParam: (last, _, place) =>
      last.pagination.next_cursor === null ? null : new PagePlace(place.index + 1, last.pagination.next_cursor, place),
    getPreviousPageParam: (_first, _, place) => place.before,
    maxPages: WINDOW_PAGES,
    ...(keep ? { placeholderData: (before) => before } : {}),
    ...asking,
  })
  const { data, hasNextPage, isFetching, fetchNextPage, fetchPreviousPage, refetch } = found
  const rows = useMemo(() => data?.pages.flatMap((page) => page.data) ?? [], [data])
  const first = data?.pageParams[0] ?? here.start
  const last = data?.pageParams.at(-1) ?? here.start
  const offset = first.index * limit
  const end = offset + rows.length
  const count = found.isPlaceholderData || !hasNextPage ? end : Math.max(here.count, end)
  if (data && !found.isPlaceholderData && (known.name !== name || last.index > known.farthest.index || count !== known.count)) {
    setKnown({ ...here, farthest: last.index > here.farthest.index ? last : here.farthest, count })
  }
  const { farthest } = here
  const more = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage()
  }, [hasNextPage, isFetching, fetchNextPage])
  const reach = useCallback(
    (from: number, to: number) => {
      if (isFetching) return
      if (to < offset - limit || from > end + limit) {
        const place = placeAt(farthest, Math.floor(Math.max(0, from - NEAR) / limit))
        jumps += 1
        setKnown((before) => ({ ...before, start: place, jump: jumps }))
      } else if (from < offset + NEAR && offset > 0) void fetchPreviousPage()
      else if (to > end - NEAR && hasNextPage) void fetchNextPage()
    },
    [isFetching, offset, end, limit, farthest, hasNextPage, fetchPreviousPage, fetchNextPage],
  )
  return {
    rows,
    offset,
    count,
    isLoading: found.isPending && found.fetchStatus !== 'idle',
    isFormer: found.isPlaceholderData,
    problem: found.error,
    hasMore: hasNextPage,
    isFetchingMore: found.isFetchingNextPage || found.isFetchingPreviousPage,
    more,
    reach,
    again: () => void refetch(),
  }
}
