import { useInfiniteQuery } from '@tanstack/react-query'
import { useVirtualizer } from '@tanstack/react-virtual'
import { memo, useEffect, useMemo, useRef, useState } from 'react'
import { Link } from 'wouter'

import { address, get, type Problem, type Query, type Schemas } from '../../api/client'
import { keyOf, useGet } from '../../api/hooks'
import { Badge } from '../../parts/Badge'
import { CopyAs } from '../../parts/copy'
import { number, shortId } from '../../parts/format'
import { Face, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { Skeleton } from '../../parts/Skeleton'
import { datasets as text } from '../../text'
import { LedgerView, type Account } from './Ledger'
import { countsOf, runsOf, visible, type Kind, type TokenRow } from './row'
import { SplitChoice } from './SplitChoice'

type Manifest = Schemas['Manifest']
type Tokenizer = Schemas['TokenizerView']
const said = text.audit
const PAGE = 20
/** Tokens of a row that are drawn at first; a row may have a million. */
const DRAWN = 1500
/** Up to so many traces all rows are accounted for at once; ten thousand took four seconds. */
const ACCOUNTED = 20_000

const nameOf = (each: Tokenizer) => (each.run ? `run:${each.run}` : (each.tokenizer ?? ''))

function Counts({ counts }: { counts: Record<Kind, number> }) {
  return (
    <span className="row small token-row-counts">
      {(['supervised', 'context', 'truncated', 'padding'] as const).map(
        (kind) =>
          counts[kind] > 0 && (
            <span key={kind}>
              <span className={`swatch kind-fill ${kind}`} aria-hidden="true" /> {number(counts[kind])} <span className="quiet">{said.kinds[kind]}</span>
            </span>
          ),
      )}
    </span>
  )
}

export const Line = memo(function Line({ row, width, ids }: { row: TokenRow; width: number | null; ids: boolean }) {
  const [most, setMost] = useState(DRAWN)
  const runs = row.reason === null ? runsOf(row, width) : []
  return (
    <div className="token-line">
      <div className="row token-line-head">
        <strong className="num">{said.row(row.position + 1)}</strong>
        <Link className="mono" href={`/traces/${row.trace}`} title={row.trace}>
          {shortId(row.trace)}
        </Link>
        <span className="quiet small">{row.split}</span>
        {row.reason === null ? (
          <Counts counts={countsOf(runs)} />
        ) : (
          <Badge tone="bad">
            {said.rejectedRow}: {said.reasons[row.reason] ?? row.reason}
          </Badge>
        )}
      </div>
      {row.reason !== null && <p className="small">{row.detail}</p>}
      {row.reason === null && (
        <div className="tokens">
          {runs.map((run) =>
            run.kind === 'padding' ? (
              <span key="padding" className="token padding" title={said.explain['padding']}>
                {said.padded(run.to - run.from)}
              </span>
            ) : (
              <span key={run.from} className="token-run" role="group" aria-label={`${said.kinds[run.kind]}, ${said.tokens(run.to - run.from)}`}>
                {row.pieces.slice(run.from, Math.min(run.to, most)).map((piece, place) => {
                  const at = run.from + place
                  const id = row.ids[at] ?? 0
                  return (
                    <span key={at}>
                      <span
                        className={`token ${run.kind}${run.kind === 'supervised' && at === run.to - 1 ? ' stop' : ''}`}
                        title={said.token(visible(piece), id, said.kinds[run.kind])}
                      >
                        {visible(piece)}
                        {ids && <sub>{id}</sub>}
                      </span>
                      {piece.endsWith('\n') && <br />}
                    </span>
                  )
                })}
              </span>
            ),
          )}
          {row.token_count > most && (
            <button type="button" className="ghost" onClick={() => setMost(most + 20 * DRAWN)}>
              {said.moreTokens(row.token_count - most)}
            </button>
          )}
        </div>
      )}
    </div>
  )
})

function Rows({ datasetKey, query, width }: { datasetKey: string; query: Query; width: number | null }) {
  const place = usePlace()
  const ids = place.get('ids') === 'shown'
  const path = '/api/datasets/{key}/tokens'
  const found = useInfiniteQuery<Schemas['TokenRows'], Problem>({
    queryKey: keyOf(path, { at: { key: datasetKey }, query }),
    queryFn: ({ pageParam, signal }) => get(path, { at: { key: datasetKey }, query: { ...query, limit: PAGE, after: pageParam as number }, signal }),
    initialPageParam: -1,
    getNextPageParam: (last) => last.next_after,
    staleTime: Infinity,
  })
  const rows = useMemo(() => found.data?.pages.flatMap((page) => page.data) ?? [], [found.data])
  const scroller = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 120,
    overscan: 4,
    initialRect: { width: 1000, height: 800 },
  })
  const items = virtual.getVirtualItems()
  const near = (items.at(-1)?.index ?? 0) >= rows.length - 5
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = found
  useEffect(() => {
    if (near && hasNextPage && !isFetchingNextPage) void fetchNextPage()
  }, [near, hasNextPage, isFetchingNextPage, fetchNextPage])
  return (
    <Section
      title={said.rows}
      beside={
        <label className="inline">
          <input type="checkbox" checked={ids} onChange={(event) => place.set({ ids: event.target.checked ? 'shown' : null })} /> <span>{said.ids}</span>
        </label>
      }
    >
      <p className="row small legend" aria-label={said.legend}>
        {(['context', 'supervised', 'truncated', 'padding'] as const).map((kind) => (
          <span key={kind} className={`token ${kind}`} title={said.explain[kind]}>
            {said.kinds[kind]}
          </span>
        ))}
        <span className="token supervised stop">{said.stop}</span>
      </p>
      <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()} skeleton={<Skeleton lines={3} tall />}>
        <div ref={scroller} className="token-rows" role="region" aria-label={said.title} tabIndex={0}>
          <div style={{ height: virtual.getTotalSize(), position: 'relative' }}>
            {items.map((item) => {
              const row = rows[item.index]
              return (
                row && (
                  <div key={row.position} ref={virtual.measureElement} data-index={item.index} className="token-item" style={{ transform: `translateY(${item.start}px)` }}>
                    <Line row={row} width={width} ids={ids} />
                  </div>
                )
              )
            })}
          </div>
        </div>
      </Face>
    </Section>
  )
}

function Chosen({ manifest, tokenizers }: { manifest: Manifest; tokenizers: readonly Tokenizer[] }) {
  const place = usePlace()
  // Without a choice: the newest run's of this very data set, else whatever there is.
  const usual = tokenizers.find((each) => each.dataset_key === manifest.dataset_key) ?? tokenizers[0]
  const name = place.get('tokenizer') || (usual ? nameOf(usual) : '')
  const [length, setLength] = useState(place.get('max_length'))
  const run = name.startsWith('run:') ? name.slice(4) : null
  const query: Query = {
    tokenizer: run === null ? name : null,
    run,
    max_length: place.get('max_length'),
    overlong: place.get('overlong') || (place.get('max_length') ? 'truncate' : null),
    template: place.get('template'),
    split: place.get('split'),
  }
  const key = manifest.dataset_key
  const [asked, setAsked] = useState(manifest.trace_count <= ACCOUNTED)
  const found = useGet('/api/datasets/{key}/ledger', { at: { key }, query }, { staleTime: Infinity, enabled: asked })
  const account = found.data as unknown as Account | undefined
  const known = tokenizers.some((each) => nameOf(each) === name)
  return (
    <>
      <div className="filters">
        <label className="filter wide-select">
          <span>{said.tokenizer}</span>
          <select value={name} onChange={(event) => place.set({ tokenizer: event.target.value })}>
            {!known && <option>{name}</option>}
            {([['groupModels', false], ['groupRuns', true]] as const).map(([label, ofRuns]) => {
              const some = tokenizers.filter((each) => Boolean(each.run) === ofRuns)
              return (
                some.length > 0 && (
                  <optgroup key={label} label={said[label]}>
                    {some.map((each) => (
                      <option key={nameOf(each)} value={nameOf(each)}>
                        {each.run ? said.ofRun(shortId(each.run), each.dataset_key ?? '') : each.tokenizer}
                      </option>
                    ))}
                  </optgroup>
                )
              )
            })}
          </select>
        </label>
        <label className="filter short-filter">
          <span>{said.maxLength}</span>
          <input
            type="number"
            min={8}
            step={1}
            value={length}
            placeholder={said.maxLengthPlaceholder}
            onChange={(event) => setLength(event.target.value)}
            onBlur={() => place.set({ max_length: length })}
            onKeyDown={(event) => {
              if (event.key === 'Enter') place.set({ max_length: length })
            }}
          />
        </label>
        <label className="filter short-filter">
          <span>{said.overlong}</span>
          <select value={String(query['overlong'] ?? 'raise')} onChange={(event) => place.set({ overlong: event.target.value })}>
            {(['raise', 'truncate', 'drop'] as const).map((each) => (
              <option key={each} value={each}>
                {said[each]}
              </option>
            ))}
          </select>
        </label>
        <label className="filter">
          <span>{said.template}</span>
          <select value={place.get('template') || 'reasoning'} onChange={(event) => place.set({ template: event.target.value === 'reasoning' ? null : event.target.value })}>
            {(['reasoning', 'answer'] as const).map((each) => (
              <option key={each} value={each}>
                {said.templates[each]}
              </option>
            ))}
          </select>
        </label>
        <SplitChoice manifest={manifest} />
        <CopyAs request={{ address: address('/api/datasets/{key}/ledger', { at: { key }, query }) }} />
      </div>
      {!asked && (
        <p className="row">
          <button type="button" onClick={() => setAsked(true)}>
            {said.account(manifest.trace_count)}
          </button>
          <span className="quiet small">{said.accountHint}</span>
        </p>
      )}
      <Face loading={asked && found.isPending} problem={found.error} again={() => void found.refetch()} skeleton={<Skeleton lines={5} />}>
        {account && <LedgerView account={account} />}
      </Face>
      {!found.error && <Rows datasetKey={key} query={query} width={account?.width ?? null} />}
    </>
  )
}

/** Rows as the model sees them, with the ledger over all. */
export function Tokens({ manifest }: { manifest: Manifest }) {
  const found = useGet('/api/tokenizers')
  return (
    <Face
      loading={found.isPending}
      problem={found.error}
      again={() => void found.refetch()}
      empty={
        found.data?.data.length === 0 && {
          ...said.none,
          action: (
            <Link className="button primary" href={`/runs/new?dataset=${encodeURIComponent(manifest.dataset_key)}`}>
              {said.startRun}
            </Link>
          ),
        }
      }
    >
      {found.data && <Chosen manifest={manifest} tokenizers={found.data.data} />}
    </Face>
  )
}
