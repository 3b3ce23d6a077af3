/** A request in other tongues. */
export interface Request {
  method?: string
  /** With its query. */
  address: string
  body?: unknown
}

const quoted = (words: string) => (/^[\w@%+=:,./-]+$/.test(words) ? words : `'${words.replaceAll("'", `'\\''`)}'`)

/** Words as a command line of a shell. */
export function shell(...words: (string | null | undefined | false)[]): string {
  return words.filter((word): word is string => typeof word === 'string').map(quoted).join(' ')
}

export function asCurl({ method = 'GET', address, body }: Request, origin = window.location.origin): string {
  const words = ['curl', ...(method === 'GET' ? [] : ['-X', method]), origin + address]
  if (body !== undefined) words.push('-H', 'Content-Type: application/json', '-d', JSON.stringify(body))
  return shell(...words)
}

function python(value: unknown): string {
  if (value === null || value === undefined) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`
  if (typeof value === 'object')
    return `{${Object.entries(value)
      .map(([key, inner]) => `${JSON.stringify(key)}: ${python(inner)}`)
      .join(', ')}}`
  return JSON.stringify(value)
}

export function asPython({ method = 'GET', address, body }: Request, origin = window.location.origin): string {
  const more = body === undefined ? '' : `, json=${python(body)}`
  return `import httpx\nprint(httpx.request(${JSON.stringify(method)}, ${JSON.stringify(origin + address)}${more}).raise_for_status().json())`
}
