import { useEffect, useId, useMemo, useState, type FormEvent } from 'react'
import { Link, useLocation } from 'wouter'

import { send, type Schemas } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { pages } from '../../pages'
import { CopyAs } from '../../parts/copy'
import { Face, Page, Section } from '../../parts/Page'
import { say } from '../../parts/notices'
import { usePlace } from '../../parts/place'
import { ProblemBox } from '../../parts/Problem'
import { Skeleton } from '../../parts/Skeleton'
import { runs as text } from '../../text'
import { flat, nested, sameValue, word } from './config'
import { Checks } from './Plan'
import { groupsOf, type Field } from './schema'

type Request = Schemas['RunRequest']

/** Keys that have a place of their own in the form, or are not the form's. */
const OWN = ['dataset', 'model_id', 'engine']
/** Shown first; everything else is behind "all other settings". */
const USUAL = ['method', 'steps', 'epochs', 'batch_size', 'learning_rate', 'seed']

function key(): string {
  const random = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function Input({ field, value, set }: { field: Field; value: unknown; set: (value: unknown) => void }) {
  const id = useId()
  const changed = value !== undefined
  const shown = changed ? value : field.default
  const hint = `${id}hint`
  const control =
    field.kind === 'boolean' ? (
      <input id={id} type="checkbox" aria-describedby={hint} checked={Boolean(shown)} onChange={(event) => set(event.target.checked)} />
    ) : field.kind === 'choice' ? (
      <select
        id={id}
        aria-describedby={hint}
        value={shown === null ? '' : String(shown)}
        onChange={(event) => set(event.target.value === '' ? null : event.target.value)}
      >
        {field.nullable && <option value="">–</option>}
        {field.options.map((option) => (
          <option key={option}>{option}</option>
        ))}
      </select>
    ) : field.kind === 'choices' ? (
      <span id={id} role="group" aria-label={field.name} className="chips">
        {field.options.map((option) => {
          const chosen = Array.isArray(shown) ? (shown as string[]) : []
          const on = chosen.includes(option)
          return (
            <button
              key={option}
              type="button"
              className="chip"
              aria-pressed={on}
              onClick={() => set(field.options.filter((each) => (each === option ? !on : chosen.includes(each))))}
            >
              {option}
            </button>
          )
        })}
      </span>
    ) : (
      <input
        id={id}
        aria-describedby={hint}
        type={field.kind === 'text' ? 'text' : 'number'}
        step={field.kind === 'integer' ? 1 : 'any'}
        min={field.minimum}
        max={field.maximum}
        value={changed && value !== null ? String(value) : ''}
        placeholder={word(field.default)}
        onChange={(event) => {
          const typed = event.target.value
          set(typed === '' ? undefined : field.kind === 'text' ? typed : Number(typed))
        }}
      />
    )
  return (
    <div className={changed && !sameValue(value, field.default) ? 'field changed' : 'field'}>
      <label htmlFor={field.kind === 'choices' ? undefined : id}>{field.name.replaceAll('_', ' ')}</label>
      {control}
      <p id={hint} className="quiet small">
        {field.description}
      </p>
    </div>
  )
}

export default function RunForm() {
  const place = usePlace()
  const [, go] = useLocation()
  const from = place.get('from')
  const schema = useGet('/api/tunix/config-schema', {}, { staleTime: Infinity })
  const status = useGet('/api/tunix/status')
  const datasets = useGet('/api/datasets', { query: { limit: 200 } })
  const evalSets = useGet('/api/eval-sets', { query: { limit: 200 } })
  const like = useGet('/api/tunix/runs/{id}', { at: { id: from || '-' } }, { enabled: from !== '' })

  const [values, setValues] = useState<Record<string, unknown>>({})
  const [dataset, setDataset] = useState(place.get('dataset'))
  const [model, setModel] = useState('scratch')
  const [engine, setEngine] = useState('')
  const [evalSet, setEvalSet] = useState(place.get('eval_set'))
  const [attempts, setAttempts] = useState('')
  const [limit, setLimit] = useState('')
  const [filled, setFilled] = useState('')

  const groups = useMemo(() => (schema.data ? groupsOf(schema.data, OWN) : []), [schema.data])

  useEffect(() => {
    const run = like.data
    if (!run || groups.length === 0 || filled === run.run_id) return
    setFilled(run.run_id)
    const defaults = new Map(groups.flatMap((group) => group.fields).map((field) => [field.key, field.default]))
    const config = flat(run.config)
    setValues(Object.fromEntries(Object.entries(config).filter(([name, value]) => defaults.has(name) && !sameValue(value, defaults.get(name)))))
    setDataset(run.dataset_key)
    setModel(run.model_id)
    setEngine(run.engine)
    setEvalSet(run.eval_set ?? '')
    setAttempts(String(run.max_attempts))
    setLimit(run.timeout_seconds === null ? '' : String(run.timeout_seconds))
  }, [like.data, groups, filled])

  const request: Request = {
    dataset_key: dataset,
    model_id: model || 'scratch',
    ...(engine ? { engine } : {}),
    ...(evalSet ? { eval_set: evalSet } : {}),
    ...(attempts ? { max_attempts: Number(attempts) } : {}),
    ...(limit ? { timeout_seconds: Number(limit) } : {}),
    config: nested(Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))),
    dry_run: true,
  } as Request
  const now = JSON.stringify(request)

  const [checked, setChecked] = useState<{ of: string; checks: Record<string, unknown> | null } | null>(null)
  const check = useAct(
    (of: string) => send('post', '/api/tunix/run', { body: JSON.parse(of) as Request }),
    ['/api/tunix/runs'],
    (done, of) => setChecked({ of, checks: ('checks' in done ? (done.checks as Record<string, unknown> | null) : null) ?? null }),
  )
  const start = useAct(
    (body: Request) => send('post', '/api/tunix/run', { query: { mode: 'async' }, body, headers: { 'Idempotency-Key': key() } }),
    ['/api/tunix/runs'],
    (accepted) => {
      say(text.form.started)
      go(`/runs/${accepted.run_id}`)
    },
  )
  const same = checked !== null && checked.of === now
  const ready = same && checked.checks?.['ok'] === true
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (!dataset) return
    check.mutate(now)
  }
  const set = (name: string) => (value: unknown) => setValues((before) => ({ ...before, [name]: value }))
  const top = groups[0]
  const usual = USUAL.flatMap((name) => top?.fields.find((field) => field.key === name) ?? [])
  const rest = groups
    .map((group) => (group.name === '' ? { ...group, fields: group.fields.filter((field) => !USUAL.includes(field.key)) } : group))
    .filter((group) => group.fields.length > 0)
  const built = pages.some((page) => page.path === '/datasets/new')

  return (
    <Page
      title={text.form.title}
      above={<Link href="/runs">{text.title}</Link>}
      actions={<CopyAs request={{ method: 'POST', address: '/api/tunix/run?mode=async', body: { ...request, dry_run: false } }} />}
      loading={schema.isPending || datasets.isPending || (from !== '' && like.isPending)}
      problem={schema.error ?? datasets.error ?? like.error}
      again={() => void Promise.all([schema.refetch(), datasets.refetch()])}
      empty={
        datasets.data?.data.length === 0 && {
          title: text.form.noDatasets,
          detail: null,
          action: built ? (
            <Link className="button primary" href="/datasets/new">
              {text.form.build}
            </Link>
          ) : undefined,
        }
      }
      skeleton={<Skeleton lines={6} />}
    >
      <p className="quiet">{text.form.intro}</p>
      <form className="run-form" onSubmit={submit}>
        <div className="stack">
          <div className="panel fields">
            <div className="field">
              <label htmlFor="dataset">{text.form.dataset}</label>
              <select id="dataset" required value={dataset} onChange={(event) => setDataset(event.target.value)} aria-describedby="dataset-hint">
                <option value="">{text.form.choose}</option>
                {datasets.data?.data.map((each) => (
                  <option key={each.dataset_key}>{each.dataset_key}</option>
                ))}
              </select>
              <p id="dataset-hint" className="quiet small">{text.form.datasetHint}</p>
            </div>
            <div className="field">
              <label htmlFor="model">{text.form.model}</label>
              <input id="model" value={model} onChange={(event) => setModel(event.target.value)} aria-describedby="model-hint" />
              <p id="model-hint" className="quiet small">{text.form.modelHint}</p>
            </div>
            <div className="field">
              <label htmlFor="engine">{text.filters.engine}</label>
              <select id="engine" value={engine} onChange={(event) => setEngine(event.target.value)} aria-describedby="engine-hint">
                <option value="">{text.form.default('tunix')}</option>
                {Object.entries(status.data?.engines ?? {}).map(([name, each]) => (
                  <option key={name} value={name}>
                    {each.available ? name : `${name} (${text.form.unavailable})`}
                  </option>
                ))}
              </select>
              <p id="engine-hint" className="quiet small">{status.data?.engines[engine || 'tunix']?.reason ?? text.form.engineHint}</p>
            </div>
            <div className="field">
              <label htmlFor="eval-set">{text.form.evalSet}</label>
              <select id="eval-set" value={evalSet} onChange={(event) => setEvalSet(event.target.value)} aria-describedby="eval-set-hint">
                <option value="">{text.form.noEvalSet}</option>
                {evalSets.data?.data.map((each) => (
                  <option key={each.name}>{each.name}</option>
                ))}
              </select>
              <p id="eval-set-hint" className="quiet small">{text.form.evalSetHint}</p>
            </div>
          </div>
          <div className="panel fields">
            {usual.map((field) => (
              <Input key={field.key} field={field} value={values[field.key]} set={set(field.key)} />
            ))}
          </div>
          <details>
            <summary>{text.form.sections.more}</summary>
            <div className="stack">
              {rest.map((group) => (
                <fieldset key={group.name} className="panel">
                  <legend>
                    <h3>{group.name || text.form.sections.top}</h3>
                  </legend>
                  {group.description && <p className="quiet small">{group.description}</p>}
                  <div className="fields">
                    {group.fields.map((field) => (
                      <Input key={field.key} field={field} value={values[field.key]} set={set(field.key)} />
                    ))}
                  </div>
                </fieldset>
              ))}
              <fieldset className="panel fields">
                <div className="field">
                  <label htmlFor="attempts">{text.form.attempts}</label>
                  <input id="attempts" type="number" min="1" max="100" placeholder="3" value={attempts} onChange={(event) => setAttempts(event.target.value)} aria-describedby="attempts-hint" />
                  <p id="attempts-hint" className="quiet small">{text.form.attemptsHint}</p>
                </div>
                <div className="field">
                  <label htmlFor="limit">{text.form.limit}</label>
                  <input id="limit" type="number" min="1" step="any" value={limit} onChange={(event) => setLimit(event.target.value)} aria-describedby="limit-hint" />
                  <p id="limit-hint" className="quiet small">{text.form.limitHint}</p>
                </div>
              </fieldset>
            </div>
          </details>
        </div>
        <aside className="form-side stack" aria-label={text.form.results}>
          <div className="row">
            <button type="submit" disabled={!dataset || check.isPending}>
              {check.isPending ? text.form.checking : text.form.check}
            </button>
            <button
              type="button"
              className="primary"
              disabled={!ready || start.isPending}
              aria-describedby="start-hint"
              onClick={() => start.mutate({ ...request, dry_run: false })}
            >
              {text.form.start}
            </button>
          </div>
          <p id="start-hint" className="quiet small" role="status">
            {check.isPending ? text.form.checking : checked === null ? text.form.checkFirst : same ? (ready ? '' : text.form.notReady) : text.form.changed}
          </p>
          {start.error && <ProblemBox problem={start.error} />}
          <Face problem={check.error} loading={check.isPending} skeleton={<Skeleton lines={5} />}>
            {checked?.checks && (
              <div className={same ? undefined : 'stale'}>
                <Section title={text.form.results}>
                  <Checks checks={checked.checks} />
                </Section>
              </div>
            )}
          </Face>
        </aside>
      </form>
    </Page>
  )
}
