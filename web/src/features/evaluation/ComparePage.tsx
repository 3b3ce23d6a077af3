import { Link } from 'wouter'

import { address, type Query, type Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { Badge, type Tone } from '../../parts/Badge'
import { CopyAs } from '../../parts/copy'
import { percent } from '../../parts/format'
import { Interval } from '../../parts/Interval'
import { Facts, Page } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import { evaluation as text } from '../../text'
import { Changes, Counts } from './Changes'
import { Difference } from './Difference'
import './evaluation.css'
import { Pick, useChoices } from './Pick'
import { boardOf, probability, range, scale, type Evaluation } from './words'

type Comparison = Schemas['ComparisonView']

const words = text.compare
const TONES: Record<Comparison['verdict'], Tone> = { better: 'good', worse: 'bad', equivalent: 'off', inconclusive: 'wait' }

/** The verdict as a sentence. */
export function sentence(of: Comparison): string {
  const [base, other] = [of.base.name, of.other.name]
  return of.verdict === 'equivalent' ? words.said.equivalent(base, other, text.points(of.margin).slice(1)) : words.said[of.verdict](base, other)
}

function Sides({ of }: { of: Comparison }) {
  const [from, to] = scale([of.base.ci, of.other.ci])
  return (
    <div className="panel flush scroll-x" role="region" aria-label={words.sides} tabIndex={0}>
      <table className="plain shares">
        <caption className="unseen">{words.sides}</caption>
        <thead>
          <tr>
            <th scope="col">{words.side}</th>
            <th scope="col" className="right">
              {text.leaderboard.score}
            </th>
            <th scope="col">{text.leaderboard.scale(percent(from, 0), percent(to, 0))}</th>
            <th scope="col" className="wide">
              {text.leaderboard.inWords}
            </th>
            <th scope="col" className="right">
              {text.leaderboard.n}
            </th>
          </tr>
        </thead>
        <tbody>
          {[of.base, of.other].map((side) => (
            <tr key={side.id}>
              <th scope="row">{side.id ? <Link href={`/evaluations/${side.id}`}>{side.name}</Link> : side.name}</th>
              <td className="right">
                <strong>{percent(side.score)}</strong>
              </td>
              <td>
                <Interval value={side.score} low={side.ci?.[0] ?? null} high={side.ci?.[1] ?? null} from={from} to={to} />
              </td>
              <td className="wide num small quiet">{range(side.ci)}</td>
              <td className="right">{side.n_scored.toLocaleString('en')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** The verdict with its figures, and both sides. */
export function Verdict({ of }: { of: Comparison }) {
  const margin = text.points(of.margin).slice(1)
  return (
    <>
      <div className="panel stack">
        <div className="row verdict">
          <Badge tone={TONES[of.verdict]}>{words.verdict[of.verdict]}</Badge>
          <h2 className="said">{sentence(of)}</h2>
          {!of.established && <Badge tone="off">{text.leaderboard.notEstablished}</Badge>}
        </div>
        {!of.established && <p className="quiet">{words.notEstablished}</p>}
        {of.difference !== null && (
          <p>
            {words.difference}{' '}
            <strong className="num">{of.ci ? words.differenceOf(text.points(of.difference), text.points(of.ci[0]), text.points(of.ci[1])) : text.points(of.difference)}</strong>
            , {words.p} {of.p_value !== null && of.p_value < 0.0001 ? '' : '= '}
            {probability(of.p_value)}
          </p>
        )}
        <Difference
          value={of.difference}
          interval={{ name: words.bootstrap, title: of.interval, ci: of.ci }}
          band={of.margin}
          limitName={words.band(margin)}
          zeroName={words.zero}
          show={text.points}
          none={text.none}
        />
        <Counts fixed={of.fixed} broken={of.broken} unchanged={of.unchanged} />
        {of.note && <p>{of.note}</p>}
        {of.decoding_note && <p role="note">{of.decoding_note}</p>}
        <p className="quiet">{of.power}</p>
      </div>
      <Sides of={of} />
      <div className="panel">
        <Facts
          facts={[
            [words.n, of.n.toLocaleString('en') + (of.n_unscored > 0 ? `, ${words.leftOut(of.n_unscored)}` : '')],
            [words.test, of.test],
            [words.bootstrap, of.interval],
            [words.marginFact, margin],
          ]}
        />
      </div>
    </>
  )
}

export default function ComparePage() {
  const place = usePlace()
  const [base, other] = [place.get('base'), place.get('other')]
  const points = place.get('margin')
  const margin = points === '' ? null : Number(points) / 100
  const choices = useChoices(base, other)
  const [first, second] = [choices.of(base), choices.of(other)]
  const query: Query = { base, other, margin }
  const both = base !== '' && other !== ''
  const found = useGet('/api/evaluations/compare', { query }, { enabled: both, keep: true })
  const pick = (name: 'base' | 'other') => (id: string) => place.set({ [name]: id, item: null })
  const matches = (row: Evaluation) => first !== undefined && row.id !== first.id && boardOf(row) === boardOf(first)
  const alone = first !== undefined && !both && !choices.rows.some(matches)
  return (
    <Page
      title={words.title}
      above={<Link href="/evaluations">{text.list.title}</Link>}
      actions={
        both && (
          <CopyAs
            command={shell('tunix-rt', 'compare', base, other, ...(margin === null ? [] : ['--margin', String(margin)]))}
            request={{ address: address('/api/evaluations/compare', { query }) }}
          />
        )
      }
      bar={
        <div className="filters picks">
          <Pick label={words.base} value={first?.id ?? base} rows={choices.rows} without={second?.id} choose={pick('base')} />
          <button
            type="button"
            className="ghost"
            disabled={!both}
            onClick={() => place.set({ base: other, other: base, item: null })}
          >
            {words.swap}
          </button>
          <Pick label={words.other} value={second?.id ?? other} rows={choices.rows} beside={first} without={first?.id} choose={pick('other')} />
          <label className="filter">
            <span>{words.margin}</span>
            <input
              type="number"
              min="0"
              max="99"
              step="0.5"
              value={points}
              placeholder="2"
              onChange={(event) => place.set({ margin: event.target.value })}
            />
          </label>
        </div>
      }
      loading={both && found.isPending}
      problem={both && found.error}
      again={() => void found.refetch()}
      empty={!both && (alone ? words.alone : base || other ? words.pickOther : words.pick)}
    >
      {found.data && (
        <div className={found.isPlaceholderData ? 'stack stale' : 'stack'}>
          <Verdict of={found.data} />
          <Changes
            items={found.data.items}
            leftOut={found.data.items_left_out}
            base={{ id: found.data.base.id ?? base, name: found.data.base.name }}
            other={{ id: found.data.other.id ?? other, name: found.data.other.name }}
          />
        </div>
      )}
    </Page>
  )
}
