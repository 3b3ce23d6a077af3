import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState, type FormEvent } from 'react'
import { Link, useLocation } from 'wouter'

import { Problem, send, type Schemas } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { CopyAs } from '../../parts/copy'
import { number } from '../../parts/format'
import { Field } from '../../parts/Field'
import { Icon } from '../../parts/Icon'
import { say } from '../../parts/notices'
import { Face, Page, Section } from '../../parts/Page'
import { usePlace, type Place } from '../../parts/place'
import { ProblemBox } from '../../parts/Problem'
import { shell } from '../../parts/request'
import { Skeleton } from '../../parts/Skeleton'
import { datasets as text, traces as tracesText } from '../../text'
import { useSourceOptions } from '../traces/sources'
import { Histogram, SplitBar } from './Bars'
import { EMPTY, formOf, optionsOf, requestOf, type Form, type Request } from './build'
import { pathOf } from './DatasetList'
import './datasets.css'

const said = text.form
const WAIT_MS = 300

type Change = (patch: Partial<Form>) => void

function Typed({
  form,
  change,
  name,
  label,
  type = 'text',
  hint,
  ...rest
}: {
  form: Form
  change: Change
  name: Exclude<keyof Form, 'splits' | 'strategy' | 'groupBy' | 'parent'>
  label: string
  type?: 'text' | 'number' | 'date' | 'search'
  hint?: string
  placeholder?: string
  required?: boolean
  pattern?: string
  min?: number
}) {
  return (
    <Field label={label} {...(hint ? { hint } : {})}>
      {(id, described) => (
        <input
          id={id}
          type={type}
          aria-describedby={described}
          value={form[name]}
          {...(type === 'number' ? { step: 1, min: 0 } : {})}
          {...rest}
          onChange={(event) => change({ [name]: event.target.value })}
        />
      )}
    </Field>
  )
}

function Splits({ form, change }: { form: Form; change: Change }) {
  const set = (place: number, patch: Partial<Form['splits'][number]>) =>
    change({ splits: form.splits.map((split, at) => (at === place ? { ...split, ...patch } : split)) })
  return (
    <fieldset className="stack tight">
      <legend className="field-name">{said.splits}</legend>
      {form.splits.map((split, place) => (
        <div key={place} className="row nowrap split-row">
          <input className="split-name" aria-label={said.splitName} value={split.name} onChange={(event) => set(place, { name: event.target.value })} />
          <input
            type="number"
            aria-label={said.splitShare(split.name)}
            min={0.1}
            max={99}
            step="any"
            value={split.percent}
            onChange={(event) => set(place, { percent: event.target.value })}
          />
          <span aria-hidden="true">%</span>
          <button
            type="button"
            className="ghost square"
            aria-label={said.removeSplit(split.name)}
            onClick={() => change({ splits: form.splits.filter((_, at) => at !== place) })}
          >
            <Icon name="close" size={14} />
          </button>
        </div>
      ))}
      <p className="row">
        <button type="button" onClick={() => change({ splits: [...form.splits, { name: form.splits.length === 0 ? 'eval' : 'test', percent: '10' }] })}>
          <Icon name="plus" size={14} /> {said.addSplit}
        </button>
        <span className="quiet small">{said.splitsHint}</span>
      </p>
    </fieldset>
  )
}

function usePreview(request: Request) {
  const [settled, setSettled] = useState(request)
  const words = JSON.stringify(request)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(JSON.parse(words) as Request), WAIT_MS)
    return () => clearTimeout(timer)
  }, [words])
  const found = useQuery<Schemas['Preview'], Problem>({
    queryKey: ['/api/datasets/preview', JSON.stringify(settled)],
    queryFn: ({ signal }) => send('post', '/api/datasets/preview', { body: settled, signal }),
    placeholderData: (before) => before,
  })
  return { ...found, stale: found.isPlaceholderData || JSON.stringify(settled) !== words }
}

function Preview({ found }: { found: ReturnType<typeof usePreview> }) {
  const { data } = found
  return (
    <Section title={said.preview} beside={found.stale && <span className="quiet small">{said.counting}</span>}>
      <Face loading={found.isPending} problem={found.error} skeleton={<Skeleton lines={6} />}>
        {data && (
          <div className={found.stale ? 'stack stale' : 'stack'}>
            <div className="panel stack">
              <p role="status">
                <strong className="preview-count">{said.count(data.trace_count)}</strong>{' '}
                {data.matching !== data.trace_count && <span className="quiet">{said.of(data.matching)}</span>}
              </p>
              <SplitBar splits={data.splits} />
              {data.trace_count > 0 &&
                Object.entries(data.splits)
                  .filter(([, count]) => count === 0)
                  .map(([name]) => (
                    <p key={name} className="row small">
                      <Icon name="warning" size={14} /> {said.emptySplit(name)}
                    </p>
                  ))}
            </div>
            <div className="columns">
              <Histogram title={text.spread['steps'] ?? ''} found={data.steps} />
              <Histogram title={text.spread['characters'] ?? ''} found={data.characters} />
            </div>
            {data.sample.length > 0 && (
              <div className="table-box">
                <div className="table-scroll" role="region" aria-label={said.sample} tabIndex={0}>
                  <table>
                    <caption className="unseen">{said.sample}</caption>
                    <thead>
                      <tr>
                        <th scope="col">{tracesText.columns.prompt}</th>
                        <th scope="col">{tracesText.columns.answer}</th>
                        <th scope="col" className="right">
                          {tracesText.columns.steps}
                        </th>
                      </tr>
                    </thead>
                    <tbody>
                      {data.sample.map((trace) => (
                        <tr key={trace.id}>
                          <td>
                            <Link href={`/traces/${trace.id}`}>{trace.prompt_preview}</Link>
                          </td>
                          <td>{trace.answer_preview}</td>
                          <td className="right">{number(trace.step_count)}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              </div>
            )}
          </div>
        )}
      </Face>
    </Section>
  )
}

function initial(place: Place): Form {
  const names = ['name', 'source', 'q', 'min_steps', 'max_steps', 'created_after', 'created_before', 'meta'] as const
  return { ...EMPTY, ...Object.fromEntries(names.map((name) => [name, place.get(name)])) }
}

function BuildForm({ start }: { start: Form }) {
  const [, go] = useLocation()
  const client = useQueryClient()
  const [form, setForm] = useState(start)
  const change: Change = (patch) => setForm((before) => ({ ...before, ...patch }))
  const request = requestOf(form)
  const preview = usePreview(requestOf({ ...form, version: '' }, 'preview'))
  const act = useAct(
    (body: Request) => send('post', '/api/datasets/build', { body }),
    ['/api/datasets'],
    (manifest) => {
      client.setQueryData(['/api/datasets/{key}', `/api/datasets/${encodeURIComponent(manifest.dataset_key)}`], manifest)
      // An older moment than now: it was there before.
      say(Date.now() - new Date(manifest.created_at).getTime() > 60_000 ? said.exists : said.sealed)
      go(pathOf(manifest.dataset_key))
    },
  )
  const submit = (event: FormEvent) => {
    event.preventDefault()
    act.mutate(request)
  }
  const sources = useSourceOptions({}, form.source)
  const common = { form, change }
  return (
    <form className="build-form" onSubmit={submit}>
      <div className="stack">
        <div className="panel fields">
          <Typed {...common} name="name" label={said.name} hint={said.nameHint} required pattern="[a-z0-9][a-z0-9._\-]*" />
          <Typed {...common} name="version" label={said.version} hint={said.versionHint} pattern="[a-z0-9][a-z0-9._\-]*" />
        </div>
        <fieldset className="panel">
          <legend>{said.which}</legend>
          <div className="fields">
            <Field label={said.source}>
              {(id) => (
                <select id={id} value={form.source} onChange={(event) => change({ source: event.target.value })}>
                  <option value="">{said.anySource}</option>
                  {sources.map((option) => (
                    <option key={option.value} value={option.value}>
                      {option.label}
                    </option>
                  ))}
                </select>
              )}
            </Field>
            <Typed {...common} name="q" type="search" label={said.words} />
            <Typed {...common} name="min_steps" type="number" label={said.least} />
            <Typed {...common} name="max_steps" type="number" label={said.most} />
            <Typed {...common} name="created_after" type="date" label={said.after} />
            <Typed {...common} name="created_before" type="date" label={said.before} />
            <Typed {...common} name="meta" label={said.meta} placeholder={said.metaPlaceholder} />
          </div>
        </fieldset>
        <fieldset className="panel">
          <legend>{said.howMany}</legend>
          <div className="fields">
            <Typed {...common} name="limit" type="number" min={1} label={said.limit} hint={said.limitHint} />
            <Field label={said.strategy}>
              {(id) => (
                <select id={id} value={form.strategy} onChange={(event) => change({ strategy: event.target.value === 'random' ? 'random' : 'latest' })}>
                  <option value="latest">{said.latest}</option>
                  <option value="random">{said.random}</option>
                </select>
              )}
            </Field>
            {form.strategy === 'random' && <Typed {...common} name="seed" type="number" label={said.seed} required />}
          </div>
        </fieldset>
        <div className="panel stack">
          <Splits {...common} />
          <div className="fields">
            <Field label={said.groupBy}>
              {(id) => (
                <select id={id} value={form.groupBy} onChange={(event) => change({ groupBy: event.target.value as Form['groupBy'] })}>
                  <option value="trace">{text.groupBy['trace']}</option>
                  <option value="prompt">{text.groupBy['prompt']}</option>
                  <option value="meta">{said.groupByMeta}</option>
                </select>
              )}
            </Field>
            {form.groupBy === 'meta' && <Typed {...common} name="groupKey" label={said.groupByKey} required />}
          </div>
        </div>
      </div>
      <div className="stack form-side">
        <Preview found={preview} />
        {act.error && <ProblemBox problem={act.error} />}
        <div className="row">
          <button
            type="submit"
            className="primary"
            disabled={act.isPending || form.name.trim() === '' || !preview.data || preview.data.trace_count === 0 || preview.stale}
          >
            {act.isPending ? said.sealing : said.seal}
          </button>
          <CopyAs command={shell('tunix-rt', 'datasets', 'build', ...optionsOf(request))} request={{ method: 'POST', address: '/api/datasets/build', body: request }} />
          <span className="quiet small">{form.name.trim() === '' ? said.giveName : said.never}</span>
        </div>
      </div>
    </form>
  )
}

export default function BuildDataset() {
  const place = usePlace()
  const from = place.get('from')
  const found = useGet('/api/datasets/{key}', { at: { key: from } }, { enabled: from !== '' })
  return (
    <Page
      title={said.title}
      above={<Link href="/datasets">{text.title}</Link>}
      loading={from !== '' && found.isPending}
      problem={found.error}
      again={() => void found.refetch()}
    >
      {from === '' ? <BuildForm start={initial(place)} /> : found.data && <BuildForm key={from} start={formOf(found.data)} />}
    </Page>
  )
}
