import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useId, useRef, type KeyboardEvent, type ReactNode } from 'react'

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
  /** Given: rows can be sorted by it; nothing sorts last. */
  sort?: (row: T) => number | string | null | undefined
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
  rowHeight?: number
  /** Sorting is in the address under this name: `loss` ascending, `-loss` descending. */
  sortParam?: string
  /** Scrolls by itself up to this height; otherwise it fills its page. */
  height?: number
}

export function sorted<T>(rows: readonly T[], columns: readonly Column<T>[], order: string): readonly T[] {
  const column = columns.find((each) => each.id === order.replace(/^-/, ''))
  const by = column?.sort
  if (!by) return rows
  const sign = order.startsWith('-') ? -1 : 1
  return rows.toSorted((a, b) => {
    const [x, y] = [by(a), by(b)]
    if (x === null || x === undefined) return y === null || y === undefined ? 0 : 1
    if (y === null || y === undefined) return -1
    return sign * (typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y)))
  })
}

/** A table of any length: what is not in view is not drawn, and the next page is fetched before it is needed. */
export function Table<T>({ label, columns, rows, keyOf, hasMore, more, isFetchingMore, rowHeight = 40, sortParam, height }: Props<T>) {
  const place = usePlace()
  const base = useId()
  const scroller = useRef<HTMLDivElement>(null)
  const order = sortParam ? place.get(sortParam) : ''
  const shown = sortParam ? sorted(rows, columns, order) : rows
  const virtual = useVirtualizer({
    count: shown.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 12,
    getItemKey: (place) => {
      const row = shown[place]
      return row === undefined ? place : keyOf(row)
    },
    initialRect: { width: 1000, height: 800 },
  })
  const items = virtual.getVirtualItems()
  const first = items[0]
  const last = items.at(-1)
  const near = last !== undefined && last.index >= shown.length - 20
  useEffect(() => {
    if (near && hasMore && !isFetchingMore) more?.()
  }, [near, hasMore, isFetchingMore, more])

  const onKeyDown = (event: KeyboardEvent) => {
    // Arrows go from row to row, to the link that each begins with.
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    const row = (event.target as HTMLElement).closest('tr[data-index]')
    if (!step || !row || !(event.target instanceof HTMLAnchorElement)) return
    event.preventDefault()
    const to = Math.min(shown.length - 1, Math.max(0, Number(row.getAttribute('data-index')) + step))
    virtual.scrollToIndex(to)
    requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`tr[data-index="${to}"] a`)?.focus())
  }

  return (
    // eslint-disable-next-line jsx-a11y/no-static-element-interactions -- the keys are of the links inside
    <div className={height ? 'table-box' : 'table-box grows'} onKeyDown={onKeyDown}>
      <div ref={scroller} className="table-scroll" style={height ? { maxHeight: height } : undefined} role="region" aria-labelledby={base} tabIndex={0}>
        <table aria-rowcount={hasMore ? -1 : shown.length + 1}>
          <caption id={base} className="unseen">
            {label}
          </caption>
          <thead>
            <tr>
              {columns.map((column) => {
                const on = order.replace(/^-/, '') === column.id
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
                        onClick={() => place.set({ [sortParam]: on ? (down ? column.id : null) : `-${column.id}` })}
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
              const row = shown[item.index]
              if (row === undefined) return null
              return (
                <tr key={item.key} data-index={item.index} aria-rowindex={item.index + 2} style={{ height: rowHeight }}>
                  {columns.map((column) => (
                    <td key={column.id} className={`${column.right ? 'right' : ''} ${column.wide ? 'wide' : ''}`}>
                      {column.cell(row)}
                    </td>
                  ))}
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
        {isFetchingMore ? text.loadingMore : text.rows(shown.length, Boolean(hasMore))}
      </p>
    </div>
  )
}
