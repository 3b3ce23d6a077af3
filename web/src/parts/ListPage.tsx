/** A page that is a list: its filters and its order are in the address, and the server filters and sorts all rows. */
import type { ReactNode } from 'react'

import { address, type ListPath, type Query, type Row } from '../api/client'
import { useList } from '../api/list'
import { CopyAs } from './copy'
import { Filters, type Filter } from './Filters'
import { Page, type Empty } from './Page'
import { usePlace } from './place'
import { Table, type Column } from './Table'

interface Props<P extends ListPath> {
  path: P
  text: { title: string; list: string; none: Empty; noneMatch: Empty; filters: { label: string } }
  filters: readonly Filter[]
  /** What the filters ask for. */
  query: Query
  columns: readonly Column<Row<P>>[]
  keyOf: (row: Row<P>) => string
  /** The same as a command line. */
  command: string
  /** What makes a first row, and further ones. */
  start?: ReactNode
  actions?: ReactNode
  /** Under the filters. */
  children?: ReactNode
}

export function ListPage<P extends ListPath>({ path, text, filters, query, columns, keyOf, command, start, actions, children }: Props<P>) {
  const place = usePlace()
  const asked = { ...query, sort: place.get('sort') }
  const found = useList(path, { query: asked }, { keep: true })
  const filtered = filters.some((filter) => place.params.has(filter.name))
  return (
    <Page
      title={text.title}
      fills
      actions={
        <>
          {actions}
          <CopyAs command={command} request={{ address: address(path, { query: asked }) }} />
          {start}
        </>
      }
      bar={
        <>
          <Filters filters={filters} label={text.filters.label} />
          {children}
        </>
      }
      loading={found.isLoading}
      problem={found.problem}
      again={found.again}
      empty={found.count === 0 && !found.isLoading && (filtered ? text.noneMatch : { ...text.none, action: start ?? text.none.action })}
    >
      <Table
        label={text.list}
        columns={columns}
        rows={found.rows}
        offset={found.offset}
        count={found.count}
        reach={found.reach}
        keyOf={keyOf}
        hasMore={found.hasMore}
        isFetchingMore={found.isFetchingMore}
        isFormer={found.isFormer}
        question={address(path, { query: asked })}
        sortParam="sort"
      />
    </Page>
  )
}
