import type { ReactNode } from 'react'
import { Link } from 'wouter'

import { address, type Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { useList } from '../../api/list'
import { Badge } from '../../parts/Badge'
import { CopyAs } from '../../parts/copy'
import { number, shortId } from '../../parts/format'
import { Face, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import { datasets as text } from '../../text'

type Manifest = Schemas['Manifest']
type Diff = Schemas['Diff']
const said = text.diff

function Ids({ title, count, ids }: { title: string; count: number; ids: readonly { id: string; beside?: ReactNode }[] }) {
  return (
    <Section title={title} beside={<span className="quiet small">{said.first(ids.length, count)}</span>}>
      {ids.length === 0 ? (
        <p className="quiet">{said.none}</p>
      ) : (
        <ul className="panel id-list">
          {ids.map(({ id, beside }) => (
            <li key={id}>
              <Link className="mono" href={`/traces/${id}`} title={id}>
                {shortId(id)}
              </Link>
              {beside}
            </li>
          ))}
        </ul>
      )}
    </Section>
  )
}

function Result({ found }: { found: Diff }) {
  const parts = [
    ['added', '+', found.added_count],
    ['removed', '−', found.removed_count],
    ['moved', '~', found.moved_count],
    ['common', '=', found.common_count],
  ] as const
  const total = Math.max(1, found.added_count + found.removed_count + found.common_count)
  return (
    <div className="stack">
      <p className="quiet">{said.direction(found.base, found.other)}</p>
      {found.same_content && <Badge tone="good">{said.same}</Badge>}
      <dl className="panel change-bars">
        {parts.map(([name, sign, count]) => (
          <div key={name} className={name}>
            <dt>
              <span aria-hidden="true">{sign}</span> {said[name]}
            </dt>
            <dd>
              {count > 0 && <span className={`count-bar ${name}`} style={{ width: `${(count / total) * 100}%` }} aria-hidden="true" />}
              <span className="num">{number(count)}</span>
            </dd>
          </div>
        ))}
      </dl>
      <Section title={said.figures}>
        <div className="panel scroll-x">
          <table className="plain">
            <thead>
              <tr>
                <th scope="col">{said.figure}</th>
                {[found.base, found.other].flatMap((key) =>
                  [said.least, said.mean, said.most].map((figure) => (
                    <th key={`${key}${figure}`} scope="col" className="right">
                      {figure}
                      <br />
                      <span className="quiet small">{key}</span>
                    </th>
                  )),
                )}
              </tr>
            </thead>
            <tbody>
              {Object.keys(found.stats['base'] ?? {}).map((name) => {
                const [base, other] = [found.stats['base']?.[name], found.stats['other']?.[name]]
                return (
                  <tr key={name} className={base?.mean === other?.mean ? undefined : 'differs'}>
                    <th scope="row">{text.spread[name] ?? name}</th>
                    {[base, other].flatMap((span, side) =>
                      [span?.min, span?.mean, span?.max].map((value, place) => (
                        <td key={`${side}${place}`} className="right">
                          {number(value)}
                        </td>
                      )),
                    )}
                  </tr>
                )
              })}
            </tbody>
          </table>
        </div>
      </Section>
      <div className="columns">
        <Ids title={said.addedTitle} count={found.added_count} ids={found.added.map((id) => ({ id }))} />
        <Ids title={said.removedTitle} count={found.removed_count} ids={found.removed.map((id) => ({ id }))} />
        <Ids
          title={said.movedTitle}
          count={found.moved_count}
          ids={found.moved.map((each) => ({ id: each.id, beside: <span className="quiet small">{` ${each.base} → ${each.other}`}</span> }))}
        />
      </div>
    </div>
  )
}

/** What this version adds to another one and removes from it. */
export function Changes({ manifest }: { manifest: Manifest }) {
  const place = usePlace()
  const versions = useList('/api/datasets')
  const others = versions.rows.filter((each) => each.dataset_key !== manifest.dataset_key)
  // Without a choice: the version it was made from, else the one before it of the same name.
  const usual = manifest.parent ?? others.find((each) => each.name === manifest.name && each.created_at < manifest.created_at)?.dataset_key ?? ''
  const base = place.get('against') || usual
  const query = { base, other: manifest.dataset_key }
  const found = useGet('/api/datasets/diff', { query }, { enabled: base !== '', staleTime: Infinity })
  return (
    <Face loading={versions.isLoading} problem={versions.problem} again={versions.again} empty={others.length === 0 && said.only}>
      <div className="filters">
        <label className="filter">
          <span>{said.against}</span>
          <select value={base} onChange={(event) => place.set({ against: event.target.value })}>
            <option value="">{said.choose}</option>
            {base !== '' && others.every((each) => each.dataset_key !== base) && <option>{base}</option>}
            {others.map((each) => (
              <option key={each.dataset_key}>{each.dataset_key}</option>
            ))}
          </select>
        </label>
        {base !== '' && (
          <CopyAs command={shell('tunix-rt', 'datasets', 'diff', base, manifest.dataset_key)} request={{ address: address('/api/datasets/diff', { query }) }} />
        )}
      </div>
      <Face loading={base !== '' && found.isPending} problem={found.error} again={() => void found.refetch()} empty={base === '' && said.pick}>
        {found.data && <Result found={found.data} />}
      </Face>
    </Face>
  )
}
