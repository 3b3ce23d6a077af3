import { useVirtualizer } from '@tanstack/react-virtual'
import { memo, useEffect, useId, useMemo, useRef, type KeyboardEvent, type ReactNode } from 'react'

import { common as text } from '../text'
import { Icon } from './Icon'
import { usePlace } from './place'

export interface Column<T> {
  id: string
  name: string
  cell: (row: T) => ReactNode
  /** Figures stand at the right. */
  right?: boolean
  /** Left out where there is little room. */
  wide?: boolean
  /** Given: rows can be sorted by it, nothing last: what the server calls it, or the value where all rows are here. */
  sort?: string | ((row: T) => number | string | null | undefined)
  width?: string
}

interface Props<T> {
  label: string
  columns: readonly Column<T>[]
  rows: readonly T[]
  keyOf: (row: T) => string
  hasMore?: boolean
  more?: () => void
  isFetchingMore?: boolean
  /** Of a list of which a window is here: rows before it, rows that are known of, and what to do when others come into view. */
  offset?: number
  count?: number
  reach?: (from: number, to: number) => void
  /** The rows are the answer to an earlier question. */
  isFormer?: boolean
  /** What was asked: another question begins at the first row. */
  question?: string
  rowHeight?: number
  /** Sorting is in the address under this name: `loss` ascending, `-loss` descending. */
  sortParam?: string
  /** Scrolls by itself up to this height; otherwise it fills its page. */
  height?: number
}

export function sorted<T>(rows: readonly T[], columns: readonly Column<T>[], order: string): readonly T[] {
  const by = columns.find((each) => each.id === order.replace(/^-/, ''))?.sort
  if (typeof by !== 'function') return rows
  const sign = order.startsWith('-') ? -1 : 1
  return rows.toSorted((a, b) => {
    const [x, y] = [by(a), by(b)]
    if (x === null || x === undefined) return y === null || y === undefined ? 0 : 1
    if (y === null || y === undefined) return -1
    return sign * (typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y)))
  })
}

const orderOf = <T,>(column: Column<T>) => (typeof column.sort === 'string' ? column.sort : column.id)

// Scrolling draws the table anew for every frame: rows that were there are left as they are.
const Cells = memo(function Cells<T>({ row, columns }: { row: T; columns: readonly Column<T>[] }) {
  return columns.map((column) => (
    <td key={column.id} className={`${column.right ? 'right' : ''} ${column.wide ? 'wide' : ''}`}>
      {column.cell(row)}
    </td>
  ))
}) as <T>(props: { row: T; columns: readonly Column<T>[] }) => ReactNode

/** A table of any length: what is not in view is not drawn, and the next page is fetched before it is needed. */
export function Table<T>({
  label,
  columns,
  rows,
  keyOf,
  hasMore,
  more,
  isFetchingMore,
  offset = 0,
  count,
  reach,
  isFormer,
  question,
  rowHeight = 40,
  sortParam,
  height,
}: Props<T>) {
  const place = usePlace()
  const base = useId()
  const scroller = useRef<HTMLDivElement>(null)
  const order = sortParam ? place.get(sortParam) : ''
  const shown = useMemo(() => (order ? sorted(rows, columns, order) : rows), [rows, columns, order])
  const total = count ?? shown.length
  const virtual = useVirtualizer({
    count: total,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 6,
    useFlushSync: false,
    getItemKey: (place) => {
      const row = shown[place - offset]
      return row === undefined ? place : keyOf(row)
    },
    initialRect: { width: 1000, height: 800 },
  })
  const items = virtual.getVirtualItems()
  const first = items[0]
  const last = items.at(-1)
  const near = last !== undefined && last.index >= total - 20
  useEffect(() => {
    if (!reach && near && hasMore && !isFetchingMore) more?.()
  }, [reach, near, hasMore, isFetchingMore, more])
  useEffect(() => {
    if (scroller.current) scroller.current.scrollTop = 0
  }, [question])
  const [from, to] = [first?.index ?? 0, last?.index ?? 0]
  useEffect(() => reach?.(from, to), [reach, from, to])

  const onKeyDown = (event: KeyboardEvent) => {
    // Arrows go from row to row, to the link that each begins with.
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    const row = (event.target as HTMLElement).closest('tr[data-index]')
    if (!step || !row || !(event.target instanceof HTMLAnchorElement)) return
    event.preventDefault()
    const to = Math.min(total - 1, Math.max(0, Number(row.getAttribute('data-index')) + step))
    virtual.scrollToIndex(to)
    requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`tr[data-index="${to}"] a`)?.focus())
  }

  return (
    // eslint-disable-next-line jsx-a11y/no-static-element-interactions -- the keys are of the links inside
    <div className={height ? 'table-box' : 'table-box grows'} onKeyDown={onKeyDown}>
      <div ref={scroller} className="table-scroll" style={height ? { maxHeight: height } : undefined} role="region" aria-labelledby={base} aria-busy={isFormer} tabIndex={0}>
        <table aria-rowcount={hasMore ? -1 : total + 1}>
          <caption id={base} className="unseen">
            {label}
          </caption>
          <thead>
            <tr>
              {columns.map((column) => {
                const name = orderOf(column)
                const on = order.replace(/^-/, '') === name
                const down = order.startsWith('-')
                return (
                  <th
                    key={column.id}
                    scope="col"
                    className={`${column.right ? 'right' : ''} ${column.wide ? 'wide' : ''}`}
                    style={column.width ? { width: column.width } : undefined}
                    aria-sort={on ? (down ? 'descending' : 'ascending') : undefined}
                  >
                    {sortParam && column.sort ? (
                      <button
                        type="button"
                        className="sorter"
                        title={text.sortBy(column.name)}
                        onClick={() => place.set({ [sortParam]: on ? (down ? name : null) : `-${name}` })}
                      >
                        {column.name}
                        {on && <Icon name={down ? 'down' : 'up'} size={12} />}
                      </button>
                    ) : (
                      column.name
                    )}
                  </th>
                )
              })}
            </tr>
          </thead>
          <tbody>
            {first && first.start > 0 && (
              <tr aria-hidden="true">
                <td colSpan={columns.length} style={{ height: first.start, padding: 0, border: 0 }} />
              </tr>
            )}
            {items.map((item) => {
              const row = shown[item.index - offset]
              return (
                <tr key={item.key} data-index={item.index} aria-rowindex={item.index + 2} style={{ height: rowHeight }}>
                  {row === undefined ? (
                    <td colSpan={columns.length} className="quiet">
                      {text.loading}
                    </td>
                  ) : (
                    <Cells row={row} columns={columns} />
                  )}
                </tr>
              )
            })}
            {last && virtual.getTotalSize() > last.end && (
              <tr aria-hidden="true">
                <td colSpan={columns.length} style={{ height: virtual.getTotalSize() - last.end, padding: 0, border: 0 }} />
              </tr>
            )}
          </tbody>
        </table>
      </div>
      <p className="table-foot quiet small" role="status">
        {isFetchingMore ? text.loadingMore : text.rows(total, Boolean(hasMore))}
      </p>
    </div>
  )
}
