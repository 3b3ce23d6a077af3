import { useIsFetching, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from 'wouter'

import { useGet } from '../../api/hooks'
import type { Problem } from '../../api/client'
import { Badge } from '../../parts/Badge'
import { CopyAs, Id } from '../../parts/copy'
import { Icon } from '../../parts/Icon'
import { Face, Page, Section } from '../../parts/Page'
import { Table, type Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import type { Schemas } from '../../api/client'
import { system as text } from '../../text'

type Worker = Schemas['WorkerView']
type Ready = Schemas['Ready']

/** Readiness answers 503 with the same body when something is wrong: that is no refusal. */
function useReady() {
  return useQuery<Ready, Problem>({
    queryKey: ['/api/ready'],
    queryFn: async ({ signal }) => (await (await fetch('/api/ready', { signal })).json()) as Ready,
  })
}

const columns: Column<Worker>[] = [
  { id: 'name', name: text.worker, cell: (row) => <strong>{row.name}</strong> },
  {
    id: 'state',
    name: text.state,
    cell: (row) =>
      !row.alive ? (
        <Badge tone="off">{text.silent}</Badge>
      ) : row.draining ? (
        <Badge tone="warn">{text.draining}</Badge>
      ) : row.current_run ? (
        <Badge tone="busy">{text.working}</Badge>
      ) : (
        <Badge tone="good">{text.idle}</Badge>
      ),
  },
  { id: 'run', name: text.run, cell: (row) => (row.current_run ? <Link href={`/runs/${row.current_run}`}>{row.current_run.slice(-8)}</Link> : '–') },
  { id: 'host', name: text.host, wide: true, cell: (row) => `${row.host} · ${row.pid}` },
  { id: 'engines', name: text.engines, wide: true, cell: (row) => Object.keys(row.engines).join(', ') || '–' },
  { id: 'started', name: text.started, wide: true, cell: (row) => <Time at={row.started_at} /> },
  { id: 'heard', name: text.heard, cell: (row) => <Time at={row.last_heartbeat} /> },
]

function Checks() {
  const ready = useReady()
  const health = useGet('/api/health')
  return (
    <Section
      title={text.checks}
      beside={
        ready.data && (
          <span className="row">
            <span className="quiet small">
              {text.checked} <Time at={new Date(ready.dataUpdatedAt).toISOString()} />
            </span>
            <Badge tone={ready.data.status === 'ready' ? 'good' : 'bad'}>{ready.data.status === 'ready' ? text.status.ready : text.status.unready}</Badge>
          </span>
        )
      }
    >
      <Face loading={ready.isPending} problem={ready.error} again={() => void ready.refetch()}>
        <div className="panel">
          <table className="plain">
            <tbody>
              {Object.entries(ready.data?.checks ?? {}).map(([name, check]) => (
                <tr key={name}>
                  <th scope="row">{text.names[name] ?? name}</th>
                  <td>
                    <Badge tone={check.ok ? 'good' : name === 'workers' ? 'warn' : 'bad'}>{check.ok ? text.ok : text.notOk}</Badge>
                  </td>
                  <td>{check.detail}</td>
                </tr>
              ))}
              {health.data && (
                <tr>
                  <th scope="row">{text.version}</th>
                  <td />
                  <td>Tunix RT {health.data.version}</td>
                </tr>
              )}
            </tbody>
          </table>
        </div>
      </Face>
    </Section>
  )
}

function Engines() {
  const status = useGet('/api/tunix/status')
  return (
    <Section title={text.engines}>
      <Face loading={status.isPending} problem={status.error} again={() => void status.refetch()}>
        <div className="columns">
          {Object.entries(status.data?.engines ?? {}).map(([name, engine]) => (
            <div className="panel stack" key={name}>
              <div className="row">
                <h3>{name}</h3>
                <Badge tone={engine.available ? 'good' : 'off'}>{engine.available ? text.available : text.missing}</Badge>
                <span className="quiet small">{engine.version}</span>
              </div>
              {engine.reason && <p className="quiet">{engine.reason}</p>}
              {engine.devices.length > 0 && (
                <p>
                  <span className="quiet small">{text.devices}</span> {engine.devices.join(', ')}
                </p>
              )}
              <table className="plain">
                <tbody>
                  {Object.entries(engine.abilities).map(([ability, found]) => (
                    <tr key={ability}>
                      <th scope="row">{ability}</th>
                      <td>{found.join(', ')}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          ))}
        </div>
      </Face>
    </Section>
  )
}

const SHOWN = ['/api/ready', '/api/health', '/api/workers', '/api/tunix/status']

/** Nothing announces a disk that fills or a worker that falls silent: the page is as old as its last look. */
function Refresh() {
  const client = useQueryClient()
  const looking = useIsFetching({ predicate: (query) => SHOWN.includes(String(query.queryKey[0])) }) > 0
  return (
    <button type="button" disabled={looking} onClick={() => void Promise.all(SHOWN.map((path) => client.invalidateQueries({ queryKey: [path] })))}>
      <Icon name="again" size={16} /> {looking ? text.refreshing : text.refresh}
    </button>
  )
}

export default function System() {
  const workers = useGet('/api/workers')
  return (
    <Page
      title={text.title}
      actions={
        <>
          <a className="button ghost" href="/docs">
            {text.describe}
          </a>
          <a className="button ghost" href="/metrics">
            {text.figures}
          </a>
          <CopyAs command="tunix-rt doctor" request={{ address: '/api/ready' }} />
          <Refresh />
        </>
      }
    >
      <Checks />
      <Section
        title={text.workers}
        beside={
          <Link href="/runs?status=pending" className="button ghost">
            {text.queueLink}
          </Link>
        }
      >
        <Face
          loading={workers.isPending}
          problem={workers.error}
          again={() => void workers.refetch()}
          empty={workers.data?.data.length === 0 && { title: text.noWorkers, detail: <Id id={text.noWorkersHint} /> }}
        >
          <Table label={text.workers} columns={columns} rows={workers.data?.data ?? []} keyOf={(row) => row.name} height={360} />
        </Face>
      </Section>
      <Engines />
    </Page>
  )
}
