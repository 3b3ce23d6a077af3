import { Link } from 'wouter'

import type { Schemas } from '../../api/client'
import { useList } from '../../api/list'
import { Face, Section } from '../../parts/Page'
import { Table, type Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { models as text } from '../../text'
import { pathOf } from './words'

type Move = Schemas['Move']

const words = text.alias
const quiet = <span className="quiet">–</span>

const COLUMNS: Column<Move>[] = [
  { id: 'when', name: words.when, cell: (row) => <Time at={row.created_at} /> },
  { id: 'alias', name: words.name, cell: (row) => <span className="alias">{row.alias}</span> },
  { id: 'from', name: words.from, cell: (row) => row.from ?? <span className="quiet">{words.new}</span> },
  { id: 'to', name: words.to, cell: (row) => row.to },
  { id: 'by', name: words.by, wide: true, cell: (row) => row.actor },
  { id: 'why', name: words.why, wide: true, cell: (row) => row.reason ?? quiet },
]

/** Where the aliases of a model point, and every move that brought them there. */
export function AliasesOf({ family, move }: { family: Schemas['FamilyDetail']; move: (asked: { alias: string }) => void }) {
  const found = useList('/api/models/{name}/history', { at: { name: family.name } })
  return (
    <>
      <Section title={words.now}>
        {family.aliases.length === 0 ? (
          <p className="panel quiet">{words.none}</p>
        ) : (
          <div className="panel flush scroll-x">
            <table className="plain">
              <thead>
                <tr>
                  <th scope="col">{words.name}</th>
                  <th scope="col">{words.version}</th>
                  <th scope="col">{words.since}</th>
                  <th scope="col" className="wide">
                    {words.by}
                  </th>
                  <th scope="col" className="wide">
                    {words.why}
                  </th>
                  <th scope="col">
                    <span className="unseen">{words.move}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {family.aliases.map((each) => (
                  <tr key={each.alias}>
                    <td>
                      <span className="alias">{each.alias}</span>
                    </td>
                    <td>
                      <Link href={`${pathOf(family.name)}?tab=version&version=${encodeURIComponent(each.version)}`}>{each.version}</Link>
                    </td>
                    <td>
                      <Time at={each.moved_at} />
                    </td>
                    <td className="wide">{each.actor}</td>
                    <td className="wide">{each.reason ?? quiet}</td>
                    <td className="right">
                      <button type="button" className="slim" aria-label={words.moveOf(each.alias)} onClick={() => move({ alias: each.alias })}>
                        {words.move_}
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Section>
      <Section title={words.history}>
        <Face loading={found.isLoading} problem={found.problem} again={found.again}>
          {found.rows.length === 0 ? (
            <p className="panel quiet">{words.noHistory}</p>
          ) : (
            <Table
              label={words.historyOf(family.name)}
              columns={COLUMNS}
              rows={found.rows}
              keyOf={(row) => row.id}
              hasMore={found.hasMore}
              more={found.more}
              isFetchingMore={found.isFetchingMore}
              height={420}
            />
          )}
        </Face>
      </Section>
    </>
  )
}
