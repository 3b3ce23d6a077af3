/** Fields of a form out of a JSON Schema, as pydantic writes it. */
export interface Field {
  /** `data.max_length` */
  key: string
  name: string
  description: string
  kind: 'integer' | 'number' | 'boolean' | 'choice' | 'choices' | 'text'
  options: string[]
  nullable: boolean
  default: unknown
  minimum?: number | undefined
  maximum?: number | undefined
}

export interface Group {
  name: string
  description: string
  fields: Field[]
}

type Node = Record<string, unknown>

/** The groups of a config: its own keys first, then each section. Keys in `without` are asked for elsewhere. */
export function groupsOf(schema: Node, without: readonly string[]): Group[] {
  const definitions = (schema['$defs'] ?? {}) as Record<string, Node>
  const follow = (node: Node): Node => {
    const ref = node['$ref']
    return typeof ref === 'string' ? { ...definitions[ref.split('/').at(-1) ?? ''], ...node } : node
  }
  const top: Group = { name: '', description: '', fields: [] }
  const found = [top]
  for (const [name, raw] of Object.entries((schema['properties'] ?? {}) as Record<string, Node>)) {
    if (without.includes(name)) continue
    const node = follow(raw)
    if (node['properties']) {
      const fields = Object.entries(node['properties'] as Record<string, Node>).map(([key, inner]) => field(`${name}.${key}`, key, follow(inner), follow))
      found.push({ name, description: String(node['description'] ?? ''), fields })
    } else top.fields.push(field(name, name, node, follow))
  }
  return found
}

function field(key: string, name: string, node: Node, follow: (node: Node) => Node): Field {
  const choices = ((node['anyOf'] as Node[] | undefined) ?? [node]).map(follow)
  const nullable = choices.some((each) => each['type'] === 'null')
  const real = choices.find((each) => each['type'] !== 'null') ?? node
  const items = real['items'] as Node | undefined
  const options = ((real['enum'] ?? (items && follow(items)['enum']) ?? []) as unknown[]).map(String)
  const type = real['type']
  const kind =
    type === 'array' ? 'choices' : options.length > 0 ? 'choice' : type === 'integer' || type === 'number' || type === 'boolean' ? type : 'text'
  return {
    key,
    name,
    description: String(node['description'] ?? ''),
    kind,
    options,
    nullable,
    default: node['default'] ?? null,
    minimum: (real['minimum'] ?? real['exclusiveMinimum']) as number | undefined,
    maximum: (real['maximum'] ?? real['exclusiveMaximum']) as number | undefined,
  }
}
