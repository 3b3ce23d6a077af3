/** Server state by TanStack Query: a key is the address that was asked, so whoever asks the same shares the answer. */
import {
  QueryClient,
  useMutation,
  useQuery,
  useQueryClient,
  type UseQueryResult,
} from '@tanstack/react-query'

import { address, get, Problem, type Call, type GetPath, type Got } from './client'

export function queryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // The server is most often this machine, which answers without a network too.
        networkMode: 'always',
        staleTime: 10_000,
        gcTime: 120_000,
        refetchOnWindowFocus: true,
        // A refusal is final; only silence and overload are asked again.
        retry: (count, error) => count < 2 && error instanceof Problem && (error.status === 0 || error.status === 503),
        retryDelay: (count) => 400 * 2 ** count,
      },
      mutations: { networkMode: 'always', retry: false },
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

export { useList, type List } from './list'
