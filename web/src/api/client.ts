/** The one door to the API: typed by openapi.json, and every refusal is a Problem as the server said it. */
import type { components, paths } from './schema'

export type Schemas = components['schemas']
export type Query = Record<string, string | number | boolean | readonly string[] | null | undefined>

type Json<R> = R extends { content: { 'application/json': infer T } } ? T : undefined
type Answers<O> = O extends { responses: infer R } ? R : never
type Good<O> = Answers<O> extends infer R ? Json<R[Extract<keyof R, 200 | 201 | 202 | 204>]> : never
type Bodies<O> = O extends { requestBody?: { content: { 'application/json': infer T } } } ? T : undefined

type With<M extends string> = {
  [P in keyof paths]: M extends keyof paths[P] ? (paths[P][M] extends undefined ? never : P) : never
}[keyof paths]
type Operation<P extends keyof paths, M extends string> = M extends keyof paths[P] ? NonNullable<paths[P][M]> : never

export type GetPath = With<'get'>
export type Got<P extends GetPath> = Good<Operation<P, 'get'>>
/** Paths that answer a page of a list. */
export type ListPath = {
  [P in GetPath]: Got<P> extends { data: unknown[]; pagination: { next_cursor: string | null } } ? P : never
}[GetPath]
export type Row<P extends ListPath> = Got<P> extends { data: (infer T)[] } ? T : never

type Method = 'post' | 'put' | 'delete'

export interface Call {
  /** Values for the {names} of the path. */
  at?: Record<string, string> | undefined
  query?: Query | undefined
  signal?: AbortSignal | undefined
}

export interface Sending<B> extends Call {
  body?: B | undefined
  /** A file, text or form that is sent as it is, instead of a body. */
  upload?: Blob | FormData | string | undefined
  headers?: Record<string, string> | undefined
}

/** What the server said when it refused: RFC 9457, with what mends it. */
export class Problem extends Error {
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly hint: string | null
  readonly requestId: string | null
  readonly code: string
  readonly faults: { pointer: string; detail: string }[]

  constructor(said: {
    status: number
    title?: string
    detail: string
    hint?: string | null
    request_id?: string | null
    code?: string
    errors?: { pointer: string; detail: string }[] | null
  }) {
    super(said.detail)
    this.name = 'Problem'
    this.status = said.status
    this.title = said.title ?? 'Failed'
    this.detail = said.detail
    this.hint = said.hint ?? null
    this.requestId = said.request_id ?? null
    this.code = said.code ?? 'failed'
    this.faults = said.errors ?? []
  }

  static of(error: unknown): Problem {
    if (error instanceof Problem) return error
    return new Problem({ status: 0, title: 'Failed in the browser', detail: String(error), code: 'browser' })
  }
}

/** The address of a call, as the browser or curl asks for it. */
export function address(path: string, { at = {}, query = {} }: Pick<Call, 'at' | 'query'> = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = at[name]
    if (value === undefined) throw new Error(`no value for {${name}} of ${path}`)
    return value.split('/').map(encodeURIComponent).join('/')
  })
  const words = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    // An empty field of a form asks for nothing; but `metric.loss<0.5` is all name.
    if (value === null || value === undefined || (value === '' && !/^(metric|param)\./.test(key))) continue
    for (const one of typeof value === 'object' ? value : [value]) words.append(key, String(one))
  }
  const asked = words.toString()
  return asked ? `${filled}?${asked}` : filled
}

async function refused(answer: Response): Promise<Problem> {
  const requestId = answer.headers.get('x-request-id')
  try {
    const said = (await answer.json()) as ConstructorParameters<typeof Problem>[0]
    return new Problem({ request_id: requestId, ...said, status: answer.status })
  } catch {
    return new Problem({
      status: answer.status,
      detail: `The server answered ${answer.status} ${answer.statusText}.`,
      request_id: requestId,
    })
  }
}

/** Ask, and take a refusal as a Problem. */
export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  let answer: Response
  try {
    answer = await fetch(url, init)
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new Problem({
      status: 0,
      title: 'No answer',
      detail: 'The server does not answer.',
      hint: 'Is it running? Start it with: tunix-rt serve',
      code: 'unreachable',
    })
  }
  if (!answer.ok) throw await refused(answer)
  return answer
}

export async function get<P extends GetPath>(path: P, call: Call = {}): Promise<Got<P>> {
  const answer = await ask(address(path, call), {
    headers: { accept: 'application/json' },
    signal: call.signal ?? null,
  })
  return (await answer.json()) as Got<P>
}

export async function send<M extends Method, P extends With<M>>(
  method: M,
  path: P,
  { body, upload, headers, ...call }: Sending<Bodies<Operation<P, M>>> = {},
): Promise<Good<Operation<P, M>>> {
  const answer = await ask(address(path, call), {
    method: method.toUpperCase(),
    headers: {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body: upload ?? (body === undefined ? null : JSON.stringify(body)),
    signal: call.signal ?? null,
  })
  const type = answer.headers.get('content-type') ?? ''
  return (type.includes('json') ? await answer.json() : undefined) as Good<Operation<P, M>>
}
