/** A config as one level of keys, as the command line writes them. */
export function flat(value: unknown, prefix = ''): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { [prefix]: value }
  return Object.assign({}, ...Object.entries(value).map(([key, inner]) => flat(inner, prefix ? `${prefix}.${key}` : key))) as Record<string, unknown>
}

/** The other way around. */
export function nested(values: Record<string, unknown>): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(values)) {
    const parts = key.split('.')
    const last = parts.pop() ?? key
    let at = found
    for (const part of parts) at = (at[part] ??= {}) as Record<string, unknown>
    at[last] = value
  }
  return found
}

export const sameValue = (a: unknown, b: unknown): boolean => JSON.stringify(a ?? null) === JSON.stringify(b ?? null)

export function word(value: unknown): string {
  if (value === null || value === undefined) return '–'
  return typeof value === 'string' ? value : Array.isArray(value) ? value.map(word).join(', ') : JSON.stringify(value)
}
