import { useQuery } from '@tanstack/react-query'

import { address, ask, Problem, type Schemas } from '../../api/client'
import { CopyAs } from '../../parts/copy'
import { Icon } from '../../parts/Icon'
import { Face, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import { datasets as text } from '../../text'
import { SplitChoice } from './SplitChoice'

type Manifest = Schemas['Manifest']
const said = text.exports
const SHOWN = 3
const MOST_CHARACTERS = 60_000

/** The first lines of a stream, which is then let go. */
export async function firstLines(answer: Response, count: number): Promise<string[]> {
  if (!answer.body) return []
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let words = ''
  for (;;) {
    const { done, value } = await reader.read()
    words += value ?? ''
    if (done || words.split('\n').length > count || words.length > MOST_CHARACTERS) break
  }
  await reader.cancel()
  return words.split('\n').slice(0, count).filter((line) => line !== '')
}

function pretty(line: string): string {
  try {
    return JSON.stringify(JSON.parse(line), null, 2)
  } catch {
    return `${line.slice(0, MOST_CHARACTERS)}…`
  }
}

export function Exports({ manifest }: { manifest: Manifest }) {
  const place = usePlace()
  const key = manifest.dataset_key
  const [format, split] = [place.get('format') || 'trace', place.get('split')]
  const path = address('/api/datasets/{key}/export.jsonl', { at: { key }, query: { format, split } })
  const found = useQuery<string[], Problem>({
    queryKey: ['export', path],
    queryFn: async ({ signal }) => firstLines(await ask(path, { signal }), SHOWN),
    staleTime: Infinity,
  })
  return (
    <>
      <p className="quiet">{said.explain}</p>
      <div className="filters">
        <label className="filter wide-select">
          <span>{said.format}</span>
          <select value={format} onChange={(event) => place.set({ format: event.target.value === 'trace' ? null : event.target.value })}>
            {Object.entries(said.formats).map(([name, explained]) => (
              <option key={name} value={name}>
                {name}: {explained}
              </option>
            ))}
          </select>
        </label>
        <SplitChoice manifest={manifest} />
        {!found.error && (
          <a className="button primary" download={`${key}${split ? `-${split}` : ''}.${format}.jsonl`} href={path}>
            <Icon name="download" size={16} /> {said.download}
          </a>
        )}
        <CopyAs
          command={shell('tunix-rt', 'datasets', 'export', key, '--format', format, ...(split ? ['--split', split] : []), '-o', `${key}.jsonl`)}
          request={{ address: path }}
        />
      </div>
      <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()}>
        <Section title={said.first}>
          {found.data?.map((line, at) => (
            <pre key={at} className="panel meta">
              {pretty(line)}
            </pre>
          ))}
        </Section>
      </Face>
    </>
  )
}
