import { useState } from 'react'
import { Link, useParams } from 'wouter'

import { address } from '../../api/client'
import { useGet } from '../../api/hooks'
import { useList } from '../../api/list'
import { Badge } from '../../parts/Badge'
import { CopyAs, Id } from '../../parts/copy'
import { bytes } from '../../parts/format'
import { Face, Page } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import { Skeleton } from '../../parts/Skeleton'
import { Table, type Column } from '../../parts/Table'
import { Tabs, type Tab } from '../../parts/Tabs'
import { Time } from '../../parts/Time'
import { models as text } from '../../text'
import { AliasesOf } from './AliasesOf'
import './models.css'
import { MoveAlias } from './MoveAlias'
import { Aliases, DatasetLink, Range, RunLink, Score, Zip } from './Parts'
import { VersionPart } from './VersionPart'
import { pathOf, type Version } from './words'

const COLUMNS: Column<Version>[] = [
  {
    id: 'version',
    name: text.columns.version,
    cell: (row) => (
      <span className="row nowrap">
        <Link href={`${pathOf(row.name)}?tab=version&version=${encodeURIComponent(row.version)}`}>{row.version}</Link>
        {row.kind === 'adapter' && (
          <Badge tone="off" title={text.adapterHint}>
            {text.adapter}
          </Badge>
        )}
      </span>
    ),
  },
  { id: 'aliases', name: text.columns.aliases, cell: (row) => <Aliases of={row.aliases} /> },
  { id: 'score', name: text.columns.score, cell: (row) => <Score of={row.evaluations[0]} /> },
  { id: 'interval', name: text.columns.scale, wide: true, cell: (row) => <Range of={row.evaluations[0]} /> },
  { id: 'run', name: text.columns.run, wide: true, cell: (row) => <RunLink id={row.run_id} /> },
  { id: 'dataset', name: text.columns.dataset, wide: true, cell: (row) => <DatasetLink name={row.provenance.dataset_key} /> },
  { id: 'digest', name: text.columns.digest, wide: true, cell: (row) => <Id id={row.digest} label={text.columns.digest} /> },
  { id: 'size', name: text.columns.size, right: true, wide: true, cell: (row) => bytes(row.size) },
  { id: 'promoted', name: text.columns.promoted, right: true, wide: true, cell: (row) => <Time at={row.created_at} /> },
  { id: 'download', name: text.columns.download, right: true, cell: (row) => <Zip of={row} short /> },
]

function Versions({ name }: { name: string }) {
  const found = useList('/api/models/{name}/versions', { at: { name } })
  return (
    <Face
      loading={found.isLoading}
      problem={found.problem}
      again={found.again}
      empty={
        found.rows.length === 0 && {
          title: text.noVersions.title,
          detail: (
            <>
              <p>{text.noVersions.detail}</p>
              <code className="select">{text.noVersions.command(name)}</code>
            </>
          ),
        }
      }
    >
      <div className="close-columns">
        <Table
          label={text.versionsOf(name)}
          columns={COLUMNS}
          rows={found.rows}
          keyOf={(row) => row.id}
          hasMore={found.hasMore}
          more={found.more}
          isFetchingMore={found.isFetchingMore}
          height={560}
        />
      </div>
    </Face>
  )
}

export default function ModelPage() {
  const { name = '' } = useParams<{ name: string }>()
  const place = usePlace()
  const found = useGet('/api/models/{name}', { at: { name } })
  const [moving, setMoving] = useState<{ alias?: string; version?: string } | null>(null)
  const family = found.data
  const newest = family?.versions[0]
  const shown = place.get('version') || newest?.version
  const tabs: Tab[] = family
    ? [
        { id: 'versions', name: text.tabs.versions, count: family.version_count, content: () => <Versions name={name} /> },
        { id: 'aliases', name: text.tabs.aliases, count: family.aliases.length, content: () => <AliasesOf family={family} move={setMoving} /> },
        ...(shown ? [{ id: 'version', name: text.tabs.version, content: () => <VersionPart key={shown} family={family} version={shown} /> }] : []),
      ]
    : []
  return (
    <Page
      title={name}
      above={<Link href="/models">{text.title}</Link>}
      beside={family?.aliases.map((each) => (
        <span key={each.alias} className="alias">
          {each.alias} <span className="quiet">{each.version}</span>
        </span>
      ))}
      actions={
        family && (
          <>
            <CopyAs command={shell('tunix-rt', 'models', 'show', name)} request={{ address: address('/api/models/{name}', { at: { name } }) }} />
            {newest && (
              <button type="button" onClick={() => setMoving({})}>
                {text.alias.move}
              </button>
            )}
            {newest && <Zip of={family.versions.find((each) => each.version === shown) ?? newest} />}
          </>
        )
      }
      loading={found.isPending}
      problem={found.error}
      again={() => void found.refetch()}
      skeleton={<Skeleton lines={8} />}
    >
      {family?.description && <p className="said">{family.description}</p>}
      <Tabs label={text.tabs.label} tabs={tabs} />
      {family && moving && <MoveAlias family={family} {...moving} close={() => setMoving(null)} />}
    </Page>
  )
}
