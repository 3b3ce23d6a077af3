import { useState } from 'react'
import { Link, useParams } from 'wouter'

import { address, type Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { useList } from '../../api/list'
import { pages } from '../../pages'
import { CopyAs, Id } from '../../parts/copy'
import { number, percent } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Face, Facts, Page, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import { Skeleton } from '../../parts/Skeleton'
import { Table } from '../../parts/Table'
import { Tabs, type Tab } from '../../parts/Tabs'
import { Time } from '../../parts/Time'
import { datasets as text } from '../../text'
import { NO_SOURCE, ofSource } from '../traces/sources'
import { COLUMNS } from '../traces/TraceList'
import { Counts, Histogram, SplitBar } from './Bars'
import { Changes } from './Changes'
import { Contamination } from './Contamination'
import { chosen, pathOf } from './DatasetList'
import { Exports } from './Exports'
import { MakeEvalSet } from './MakeEvalSet'
import { SplitChoice } from './SplitChoice'
import { Tokens } from './Tokens'
import './datasets.css'

type Manifest = Schemas['Manifest']

function Statistics({ manifest }: { manifest: Manifest }) {
  const place = usePlace()
  const split = place.get('split')
  const found = useGet('/api/datasets/{key}/statistics', { at: { key: manifest.dataset_key }, query: { split } }, { keep: true, staleTime: Infinity })
  const data = found.data
  return (
    <Section title={text.statistics} beside={<SplitChoice manifest={manifest} />}>
      <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()} skeleton={<Skeleton lines={2} tall />}>
        {data && (
          <>
            <div className="columns">
              <Histogram title={text.spread['steps'] ?? ''} found={data.steps} />
              <Histogram title={text.spread['characters'] ?? ''} found={data.characters} />
              <Histogram title={text.spread['answer'] ?? ''} found={data.answer} />
            </div>
            {data.sources.length > 0 && (
              <Counts
                title={text.sources}
                counts={data.sources.map((each) => [each.source ?? NO_SOURCE, each.count] as const)}
                linkTo={(name) => <Link href={ofSource('/traces', name)}>{name}</Link>}
              />
            )}
          </>
        )}
      </Face>
    </Section>
  )
}

function Overview({ manifest }: { manifest: Manifest }) {
  const filters = Object.entries(manifest.filters).map(([name, value]) => `${name} = ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
  return (
    <>
      <div className="panel">
        <Facts
          facts={[
            [text.facts.traces, number(manifest.trace_count)],
            [text.facts.sealed, <Time key="sealed" at={manifest.created_at} />],
            [text.facts.digest, <Id key="digest" id={manifest.digest} label={text.facts.digest} />],
            [text.facts.strategy, chosen(manifest)],
            [text.facts.limit, manifest.limit === null ? text.facts.noLimit : number(manifest.limit)],
            [text.facts.groups, text.groupBy[manifest.group_by] ?? manifest.group_by],
            [text.facts.filters, filters.length === 0 ? text.facts.noFilters : filters.join(', ')],
            manifest.parent !== null && [text.facts.parent, <Link key="parent" href={pathOf(manifest.parent)}>{manifest.parent}</Link>],
          ]}
        />
      </div>
      <Section title={text.splits}>
        <div className="panel stack">
          <SplitBar splits={Object.fromEntries(Object.entries(manifest.splits).map(([name, split]) => [name, split.count]))} />
          <div className="scroll-x">
            <table className="plain narrow-table">
              <thead>
                <tr>
                  <th scope="col">{text.split}</th>
                  <th scope="col" className="right">
                    {text.count}
                  </th>
                  <th scope="col" className="right">
                    {text.share}
                  </th>
                  <th scope="col">{text.digest}</th>
                </tr>
              </thead>
              <tbody>
                {Object.entries(manifest.splits).map(([name, split]) => (
                  <tr key={name}>
                    <td>
                      <Link href={`${pathOf(manifest.dataset_key)}?tab=traces&split=${encodeURIComponent(name)}`}>{name}</Link>
                    </td>
                    <td className="right">{number(split.count)}</td>
                    <td className="right">{percent(split.count / manifest.trace_count)}</td>
                    <td>
                      <Id id={split.digest} label={text.digest} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </div>
      </Section>
      <Statistics manifest={manifest} />
    </>
  )
}

function Held({ manifest }: { manifest: Manifest }) {
  const place = usePlace()
  const found = useList('/api/datasets/{key}/traces', { at: { key: manifest.dataset_key }, query: { split: place.get('split') } })
  return (
    <>
      <div className="filters">
        <SplitChoice manifest={manifest} />
      </div>
      <Face loading={found.isLoading} problem={found.problem} again={found.again} empty={found.rows.length === 0 && text.noTraces}>
        <Table
          label={text.tracesOf(manifest.dataset_key)}
          columns={COLUMNS}
          rows={found.rows}
          keyOf={(trace) => trace.id}
          hasMore={found.hasMore}
          more={found.more}
          isFetchingMore={found.isFetchingMore}
        />
      </Face>
    </>
  )
}

export default function DatasetPage() {
  const { key = '' } = useParams<{ key: string }>()
  const found = useGet('/api/datasets/{key}', { at: { key } }, { staleTime: Infinity })
  const manifest = found.data
  const [asking, setAsking] = useState(false)
  const heldOut = Object.keys(manifest?.splits ?? {}).filter((split) => split !== 'train')
  const tabs: Tab[] = manifest
    ? [
        { id: 'overview', name: text.tabs.overview, content: () => <Overview manifest={manifest} /> },
        { id: 'traces', name: text.tabs.traces, count: manifest.trace_count, content: () => <Held manifest={manifest} /> },
        { id: 'tokens', name: text.tabs.tokens, content: () => <Tokens manifest={manifest} /> },
        { id: 'changes', name: text.tabs.changes, content: () => <Changes manifest={manifest} /> },
        { id: 'contamination', name: text.tabs.contamination, content: () => <Contamination manifest={manifest} /> },
        { id: 'export', name: text.tabs.export, content: () => <Exports manifest={manifest} /> },
        {
          id: 'manifest',
          name: text.tabs.manifest,
          content: () => <pre className="panel meta">{JSON.stringify(manifest, null, 2)}</pre>,
        },
      ]
    : []
  return (
    <Page
      title={key}
      above={<Link href="/datasets">{text.title}</Link>}
      actions={
        manifest && (
          <>
            <CopyAs command={shell('tunix-rt', 'datasets', 'show', key)} request={{ address: address('/api/datasets/{key}', { at: { key } }) }} />
            {heldOut.length > 0 && <button type="button" onClick={() => setAsking(true)}>{text.evalSet.open}</button>}
            <Link className="button" href={`/datasets/new?from=${encodeURIComponent(key)}`}>
              {text.newer}
            </Link>
            {pages.some((page) => page.path === '/runs/new') && (
              <Link className="button primary" href={`/runs/new?dataset=${encodeURIComponent(key)}`}>
                <Icon name="runs" size={16} /> {text.train}
              </Link>
            )}
          </>
        )
      }
      loading={found.isPending}
      problem={found.error}
      again={() => void found.refetch()}
      skeleton={<Skeleton lines={10} />}
    >
      <Tabs label={text.tabs.label} tabs={tabs} />
      {asking && manifest && <MakeEvalSet manifest={manifest} splits={heldOut} close={() => setAsking(false)} />}
    </Page>
  )
}
