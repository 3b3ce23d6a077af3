import { useId, useState, type FormEvent } from 'react'
import { Link } from 'wouter'

import { send, type Schemas } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { pages } from '../../pages'
import { CopyAs } from '../../parts/copy'
import { Icon } from '../../parts/Icon'
import { Face } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { ProblemBox } from '../../parts/Problem'
import { shell } from '../../parts/request'
import { traces as text } from '../../text'
import { groupsOf, type Field } from '../runs/schema'

type Source = Schemas['SourceOut']
const said = text.generate

function Option({ field, value, set }: { field: Field; value: unknown; set: (value: unknown) => void }) {
  const id = useId()
  const numeric = field.kind === 'integer' || field.kind === 'number'
  return (
    <div className="field">
      <label htmlFor={id}>{field.name.replaceAll('_', ' ')}</label>
      {field.kind === 'boolean' ? (
        <input id={id} type="checkbox" checked={Boolean(value ?? field.default)} onChange={(event) => set(event.target.checked)} />
      ) : field.kind === 'choice' ? (
        <select id={id} value={String(value ?? field.default ?? '')} onChange={(event) => set(event.target.value)}>
          {field.options.map((option) => (
            <option key={option}>{option}</option>
          ))}
        </select>
      ) : (
        <input
          id={id}
          type={numeric ? 'number' : 'text'}
          step={field.kind === 'integer' ? 1 : 'any'}
          min={field.minimum}
          max={field.maximum}
          value={value === undefined ? '' : String(value)}
          placeholder={field.default === null ? '' : String(field.default)}
          aria-describedby={`${id}hint`}
          onChange={(event) => set(event.target.value === '' ? undefined : numeric ? Number(event.target.value) : event.target.value)}
        />
      )}
      <p id={`${id}hint`} className="quiet small">
        {field.description}
      </p>
    </div>
  )
}

function Form({ sources }: { sources: readonly Source[] }) {
  const place = usePlace()
  const source = sources.find((each) => each.name === place.get('from')) ?? sources.find((each) => each.problem === null) ?? sources[0]
  const [count, setCount] = useState('500')
  const [seed, setSeed] = useState('0')
  const [options, setOptions] = useState<Record<string, unknown>>({})
  const act = useAct((body: Schemas['GenerateBody']) => send('post', '/api/traces/generate', { body }), ['/api/traces'])
  if (!source) return null
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const body = { source: source.name, count: Number(count), seed: Number(seed), options: given }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    act.mutate(body)
  }
  return (
    <form className="stack generate" onSubmit={submit}>
      <fieldset className="sources">
        <legend className="unseen">{said.source}</legend>
        {sources.map((each) => (
          <label key={each.name} htmlFor={`source-${each.name}`} className={each === source ? 'source on' : 'source'}>
            <input
              id={`source-${each.name}`}
              type="radio"
              name="source"
              checked={each === source}
              disabled={each.problem !== null}
              onChange={() => {
                place.set({ from: each.name })
                setOptions({})
                act.reset()
              }}
            />
            <strong>{each.name}</strong>
            <span className="quiet small">{each.problem === null ? each.description : `${said.cannot}: ${each.problem}`}</span>
          </label>
        ))}
      </fieldset>
      <div className="panel fields">
        <div className="field">
          <label htmlFor="generate-count">{said.count}</label>
          <input id="generate-count" type="number" required min={1} max={1_000_000} step={1} value={count} onChange={(event) => setCount(event.target.value)} />
        </div>
        <div className="field">
          <label htmlFor="generate-seed">{said.seed}</label>
          <input id="generate-seed" type="number" required min={0} step={1} value={seed} onChange={(event) => setSeed(event.target.value)} aria-describedby="generate-seed-hint" />
          <p id="generate-seed-hint" className="quiet small">
            {said.seedHint}
          </p>
        </div>
        {groupsOf(source.options, [])
          .flatMap((group) => group.fields)
          .map((field) => (
            <Option key={`${source.name}.${field.key}`} field={field} value={options[field.key]} set={(value) => setOptions({ ...options, [field.key]: value })} />
          ))}
      </div>
      <div className="actions">
        <button type="submit" className="primary" disabled={act.isPending || source.problem !== null}>
          {act.isPending ? said.busy : said.do}
        </button>
        <CopyAs
          command={shell(
            'tunix-rt', 'traces', 'generate', source.name, '--count', count, '--seed', seed,
            ...Object.entries(given).flatMap(([name, value]) => ['--option', `${name}=${String(value)}`]),
          )}
          request={{ method: 'POST', address: '/api/traces/generate', body }}
        />
      </div>
      {act.error && <ProblemBox problem={act.error} />}
      {act.data && (
        <div className="panel row" role="status">
          <Icon name="check" /> <strong>{said.done(act.data.created, act.data.already_present)}</strong>
          <Link className="button" href={`/traces?source=${encodeURIComponent(act.data.source)}`}>
            {text.import.see}
          </Link>
          {pages.some((page) => page.path === '/datasets/new') && (
            <Link className="button primary" href={`/datasets/new?source=${encodeURIComponent(act.data.source)}`}>
              {text.import.build}
            </Link>
          )}
        </div>
      )}
    </form>
  )
}

export function Generate() {
  const found = useGet('/api/traces/sources', {}, { staleTime: 60_000 })
  return (
    <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()} empty={found.data?.data.length === 0 && said.none}>
      {found.data && <Form sources={found.data.data} />}
    </Face>
  )
}
