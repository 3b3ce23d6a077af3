import { Link } from 'wouter'

import { Badge } from '../../parts/Badge'
import { number, percent, shortId } from '../../parts/format'
import { Facts, Section } from '../../parts/Page'
import { datasets as text } from '../../text'

/** training/ledger.py, `document`. */
export interface Account {
  width: number
  rows: { total: number; trained: number; truncated: number; rejected: Record<string, number> }
  tokens: { total: number; supervised: number; context: number; truncated: number; rejected: number; padding: number }
  lengths: { min: number; mean: number; p95: number; max: number }
  ok: boolean
  problems: { row: number; id: string; reason: string; detail: string }[]
}

const said = text.audit
const KINDS = ['supervised', 'context', 'padding', 'truncated', 'rejected'] as const

/** What becomes of every token, as parts of one bar; the marks are those of the tokens below. */
export function TokenBar({ counts }: { counts: Record<(typeof KINDS)[number], number> }) {
  const total = Math.max(1, KINDS.reduce((sum, kind) => sum + counts[kind], 0))
  return (
    <div className="stack tight">
      <div className="token-bar" aria-hidden="true">
        {KINDS.map((kind) => counts[kind] > 0 && <span key={kind} className={`kind-fill ${kind}`} style={{ flexGrow: counts[kind] }} title={said.kinds[kind]} />)}
      </div>
      <dl className="token-counts">
        {KINDS.map((kind) => (
          <div key={kind} className={counts[kind] === 0 ? 'quiet' : undefined}>
            <dt>
              <span className={`swatch kind-fill ${kind}`} aria-hidden="true" /> {said.kinds[kind]}
              <span className="quiet small"> {said.explain[kind]}</span>
            </dt>
            <dd className="num">
              <strong>{number(counts[kind])}</strong> <span className="quiet small">{percent(counts[kind] / total)}</span>
            </dd>
          </div>
        ))}
      </dl>
    </div>
  )
}

function Problems({ account }: { account: Account }) {
  return (
    <Section title={said.problems}>
      <div className="table-box">
        <div className="table-scroll" role="region" aria-label={said.problemsTable} tabIndex={0} style={{ maxHeight: 280 }}>
          <table className="plain">
            <thead>
              <tr>
                <th scope="col" className="right">
                  {said.row(0).split(' ')[0]}
                </th>
                <th scope="col">{said.reason}</th>
                <th scope="col">{said.detail}</th>
                <th scope="col">{said.trace}</th>
              </tr>
            </thead>
            <tbody>
              {account.problems.map((each) => (
                <tr key={each.row}>
                  <td className="right">{number(each.row)}</td>
                  <td>{said.reasons[each.reason] ?? each.reason}</td>
                  <td>{each.detail}</td>
                  <td>
                    <Link className="mono" href={`/traces/${each.id}`} title={each.id}>
                      {shortId(each.id)}
                    </Link>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </div>
    </Section>
  )
}

export function LedgerView({ account }: { account: Account }) {
  const { rows, tokens, lengths } = account
  return (
    <Section title={said.ledger} beside={<Badge tone={account.ok ? 'good' : 'bad'}>{account.ok ? said.ledgerOk : said.ledgerBad}</Badge>}>
      <div className="panel stack">
        <TokenBar counts={tokens} />
        <Facts
          facts={[
            [said.total, number(rows.total)],
            [said.trained, number(rows.trained)],
            [said.truncatedRows, number(rows.truncated)],
            ...Object.entries(rows.rejected).map(([reason, count]) => [said.reasons[reason] ?? reason, number(count)] as const),
            [said.width, said.tokens(account.width)],
            [said.lengths, text.span(number(lengths.min), number(lengths.mean), number(lengths.max))],
          ]}
        />
      </div>
      {account.problems.length > 0 && <Problems account={account} />}
    </Section>
  )
}
