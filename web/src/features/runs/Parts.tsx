/** The tabs of a run beside its logs and curves: files, config, history. */
import { Link } from 'wouter'

import { address, type Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { bytes, number } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Face, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { Table, type Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { runs as text } from '../../text'
import { CheckpointNow } from './Actions'
import { flat, sameValue, word } from './config'
import { isOver, RunStatus } from './status'

type Detail = Schemas['RunDetail']

export function Files({ run }: { run: Detail }) {
  const id = run.run_id
  const checkpoints = useGet('/api/tunix/runs/{id}/checkpoints', { at: { id } })
  const artifacts = useGet('/api/tunix/runs/{id}/artifacts', { at: { id } })
  const columns: Column<Schemas['Artifact']>[] = [
    {
      id: 'path',
      name: text.files.path,
      cell: (file) => (
        <a className="mono" download href={address('/api/tunix/runs/{id}/artifacts/{path}', { at: { id, path: file.path } })}>
          {file.path}
        </a>
      ),
    },
    { id: 'kind', name: text.files.kind, wide: true, cell: (file) => file.kind },
    { id: 'size', name: text.files.size, right: true, cell: (file) => bytes(file.size) },
    { id: 'sha256', name: 'SHA-256', wide: true, cell: (file) => <code title={file.sha256}>{file.sha256.slice(0, 12)}</code> },
  ]
  return (
    <>
      <Section title={text.files.checkpoints} beside={run.mode !== 'dry-run' && isOver(run.status) && <CheckpointNow run={run} />}>
        <Face loading={checkpoints.isPending} problem={checkpoints.error} again={() => void checkpoints.refetch()}>
          {checkpoints.data?.data.length ? (
            <div className="panel scroll-x">
              <table className="plain">
                <thead>
                  <tr>
                    <th scope="col">{text.files.step}</th>
                    <th scope="col">{text.files.path}</th>
                    <th scope="col" className="right">{text.files.loss}</th>
                    <th scope="col" className="right">{text.files.size}</th>
                    <th scope="col" className="right">{text.files.made}</th>
                  </tr>
                </thead>
                <tbody>
                  {checkpoints.data.data.map((checkpoint) => (
                    <tr key={checkpoint.path}>
                      <th scope="row" className="num">{number(checkpoint.step)}</th>
                      <td className="mono">{checkpoint.path}</td>
                      <td className="right">{number(checkpoint.metrics['loss'])}</td>
                      <td className="right">{bytes(checkpoint.size)}</td>
                      <td className="right"><Time at={checkpoint.created_at} /></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          ) : (
            <p className="quiet panel">{text.files.noCheckpoints}</p>
          )}
        </Face>
      </Section>
      <Section title={text.files.artifacts}>
        <Face loading={artifacts.isPending} problem={artifacts.error} again={() => void artifacts.refetch()}>
          {artifacts.data?.data.length ? (
            <Table label={text.files.artifacts} columns={columns} rows={artifacts.data.data} keyOf={(file) => file.path} height={480} />
          ) : (
            <p className="quiet panel">{text.files.noArtifacts}</p>
          )}
        </Face>
      </Section>
    </>
  )
}

export function Config({ run }: { run: Detail }) {
  const place = usePlace()
  const parent = useGet('/api/tunix/runs/{id}', { at: { id: run.retry_of ?? '-' } }, { enabled: run.retry_of !== null })
  const schema = useGet('/api/tunix/config-schema', {}, { staleTime: Infinity })
  const own = flat(run.config)
  const before = parent.data ? flat(parent.data.config) : null
  const defaults = schema.data ? flat(defaultsOf(schema.data)) : null
  const only = place.get('only')
  const differing = before ? Object.keys({ ...own, ...before }).filter((key) => !sameValue(own[key], before[key])) : []
  const wanted = (key: string, value: unknown) =>
    only === 'parent' ? !before || differing.includes(key) : only !== 'changed' || !defaults || !sameValue(value, defaults[key])
  const rows = Object.entries({ ...(only === 'parent' ? before : {}), ...own }).filter(([key, value]) => wanted(key, value))
  return (
    <Section
      title={text.config.title}
      beside={
        <div className="row">
          <label className="inline">
            <span>{text.config.show}</span>
            <select value={only} onChange={(event) => place.set({ only: event.target.value })}>
              <option value="">{text.config.whole}</option>
              <option value="changed">{text.config.only}</option>
              {run.retry_of !== null && <option value="parent">{text.config.onlyParent}</option>}
            </select>
          </label>
          <a className="button ghost" download href={address('/api/tunix/runs/{id}/artifacts/{path}', { at: { id: run.run_id, path: 'config.yaml' } })}>
            <Icon name="download" size={16} /> config.yaml
          </a>
        </div>
      }
    >
      {before && (
        <p>
          {differing.length ? text.config.differs(differing.length) : text.config.same}{' '}
          <Link href={`/runs/${run.retry_of ?? ''}`}>{text.facts.retryOf}</Link>
        </p>
      )}
      {rows.length > 0 && (
        <div className="panel scroll-x">
          <table className="plain">
            <thead>
              <tr>
                <th scope="col">{text.config.key}</th>
                <th scope="col">{text.config.value}</th>
                {before && <th scope="col">{text.config.parentValue}</th>}
                <th scope="col" className="wide">{text.config.default}</th>
              </tr>
            </thead>
            <tbody>
              {rows.map(([key, value]) => {
                const changed = defaults !== null && !sameValue(value, defaults[key])
                return (
                  <tr key={key} className={differing.includes(key) ? 'differs' : undefined}>
                    <th scope="row" className="mono">{key}</th>
                    <td className="mono value">{changed ? <strong>{word(value)}</strong> : word(value)}</td>
                    {before && <td className="mono">{sameValue(value, before[key]) ? '' : `≠ ${word(before[key])}`}</td>}
                    <td className="mono quiet wide">{defaults && changed ? word(defaults[key]) : ''}</td>
                  </tr>
                )
              })}
            </tbody>
          </table>
        </div>
      )}
      <details>
        <summary>{text.config.provenance}</summary>
        <pre className="panel">{JSON.stringify(run.provenance, null, 2)}</pre>
      </details>
    </Section>
  )
}

export function defaultsOf(schema: Record<string, unknown>): Record<string, unknown> {
  const definitions = (schema['$defs'] ?? {}) as Record<string, Record<string, unknown>>
  const of = (node: Record<string, unknown>): unknown => {
    const ref = typeof node['$ref'] === 'string' ? definitions[node['$ref'].split('/').at(-1) ?? ''] : undefined
    const properties = (ref ?? node)['properties'] as Record<string, Record<string, unknown>> | undefined
    if (properties) return Object.fromEntries(Object.entries(properties).map(([key, inner]) => [key, of(inner)]))
    return node['default'] ?? null
  }
  return of(schema) as Record<string, unknown>
}

export function History({ run }: { run: Detail }) {
  return (
    <Section title={text.history.title}>
      <div className="panel scroll-x">
        <table className="plain">
          <thead>
            <tr>
              <th scope="col">{text.history.when}</th>
              <th scope="col">{text.history.from}</th>
              <th scope="col">{text.history.to}</th>
              <th scope="col">{text.history.who}</th>
              <th scope="col">{text.history.why}</th>
            </tr>
          </thead>
          <tbody>
            {run.events.map((change, place) => (
              <tr key={place}>
                <td className="nowrap"><Time at={change.time} /></td>
                <td>{change.from ? text.status[change.from] : <span className="quiet">{text.history.begin}</span>}</td>
                <td><RunStatus status={change.to} /></td>
                <td>{change.actor}</td>
                <td>{change.reason ?? ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  )
}
