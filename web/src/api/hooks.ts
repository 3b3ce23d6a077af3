/** Server state by TanStack Query: a key is the address that was asked, so whoever asks the same shares the answer. */
import {
  QueryClient,
  useInfiniteQuery,
  useMutation,
  useQuery,
  useQueryClient,
  type UseQueryResult,
} from '@tanstack/react-query'

import { address, get, Problem, type Call, type GetPath, type Got, type ListPath, type Query, type Row } from './client'

export function queryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 10_000,
        gcTime: 120_000,
        refetchOnWindowFocus: true,
        // A refusal is final; only silence and overload are asked again.
        retry: (count, error) => count < 2 && error instanceof Problem && (error.status === 0 || error.status === 503),
        retryDelay: (count) => 400 * 2 ** count,
      },
      mutations: { retry: false },
    },
  })
}

/** The key of what is asked at a path; without values, the beginning of all keys of that path. */
export function keyOf(path: string, call?: Pick<Call, 'at' | 'query'>): string[] {
  return call === undefined ? [path] : [path, address(path, call)]
}

export interface Asking {
  enabled?: boolean
  staleTime?: number
  /** Show the former answer while another one is fetched. */
  keep?: boolean
}

export function useGet<P extends GetPath>(
  path: P,
  call: Omit<Call, 'signal'> = {},
  asking: Asking = {},
): UseQueryResult<Got<P>, Problem> {
  const { keep, ...rest } = asking
  return useQuery<Got<P>, Problem, Got<P>, string[]>({
    queryKey: keyOf(path, call),
    queryFn: ({ signal }) => get(path, { ...call, signal }),
    ...(keep ? { placeholderData: (before: Got<P> | undefined) => before } : {}),
    ...rest,
  })
}

export interface List<T> {
  rows: T[]
  /** Nothing was answered yet. */
  isLoading: boolean
  problem: Problem | null
  hasMore: boolean
  isFetchingMore: boolean
  more: () => void
  again: () => void
}

/** A list, page by page: `more` fetches the next one. */
export function useList<P extends ListPath>(
  path: P,
  { at, query = {}, limit = 100 }: { at?: Record<string, string>; query?: Query; limit?: number } = {},
  asking: { enabled?: boolean; staleTime?: number } = {},
): List<Row<P>> {
  const found = useInfiniteQuery<{ data: Row<P>[]; pagination: { next_cursor: string | null } }, Problem>({
    queryKey: [...keyOf(path, { at, query }), `limit=${limit}`],
    queryFn: async ({ pageParam, signal }) => {
      const answer: unknown = await get(path, { at, query: { ...query, limit, cursor: pageParam as string | null }, signal })
      return answer as { data: Row<P>[]; pagination: { next_cursor: string | null } }
    },
    initialPageParam: null,
    getNextPageParam: (last) => last.pagination.next_cursor,
    ...asking,
  })
  return {
    rows: found.data?.pages.flatMap((page) => page.data) ?? [],
    isLoading: found.isPending && found.fetchStatus !== 'idle',
    problem: found.error,
    hasMore: found.hasNextPage,
    isFetchingMore: found.isFetchingNextPage,
    more: () => {
      if (found.hasNextPage && !found.isFetchingNextPage) void found.fetchNextPage()
    },
    again: () => void found.refetch(),
  }
}

/** Something that changes the server; afterwards everything at the paths named is asked again. */
export function useAct<V, R>(act: (value: V) => Promise<R>, changes: string[] = [], done?: (result: R, value: V) => void) {
  const client = useQueryClient()
  return useMutation<R, Problem, V>({
    mutationFn: act,
    onSuccess: (result, value) => {
      for (const path of changes) void client.invalidateQueries({ queryKey: [path] })
      done?.(result, value)
    },
  })
}
