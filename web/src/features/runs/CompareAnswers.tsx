/** Two of the compared runs, item by item, where they were evaluated alike; else why that cannot be. */
import { Link } from 'wouter'

import { type Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { percent, shortId } from '../../parts/format'
import { Face, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { runs as text } from '../../text'
import { Changes } from '../evaluation/Changes'
import { Verdict } from '../evaluation/ComparePage'
import { EvaluationState, said as inWords } from '../evaluation/Queue'
import { decoding } from '../evaluation/words'
import { apart, pairs, type Part } from './compare'

type Evaluation = Schemas['EvaluationView']

export interface Evaluated {
  id: string
  run: Pick<Schemas['RunDetail'], 'evaluation'>
  /** Newest first. */
  evaluations: readonly Evaluation[]
}

const said = text.compare
const NAMES: Record<Part, (of: Evaluation) => string> = {
  eval_set_digest: (of) => `${of.eval_set} (${of.eval_set_digest.slice(7, 15)})`,
  judge_digest: (of) => `${of.judge} ${of.judge_version}`,
  decoding_digest: decoding,
}

/** Evaluations of runs are called by the beginning of an id, which runs of one minute share. */
const named = (of: Schemas['ComparisonView'], base: string, other: string): Schemas['ComparisonView'] => ({
  ...of,
  base: { ...of.base, name: shortId(base) },
  other: { ...of.other, name: shortId(other) },
})

function Reason({ base, other }: { base: Evaluated; other: Evaluated }) {
  const without = [base, other].filter((run) => run.evaluations.length === 0)
  const found = apart(base.evaluations, other.evaluations)
  return (
    <div className="panel stack tight">
      {without.map((run) => (
        <p key={run.id}>
          {!inWords(run.run.evaluation) && said.unevaluated(shortId(run.id))} <Link href={`/runs/${run.id}`}>{text.run(shortId(run.id))}</Link>{' '}
          <EvaluationState of={run.run.evaluation} />
        </p>
      ))}
      {without.some((run) => !inWords(run.run.evaluation)) && <p className="quiet">{said.evaluateHint}</p>}
      {found && (
        <>
          <p>{said.noBoard}</p>
          <ul>
            {found.parts.map((part) => (
              <li key={part}>{said.differs[part](NAMES[part](found.pair.base), NAMES[part](found.pair.other))}</li>
            ))}
          </ul>
          <p className="quiet">{said.again}</p>
        </>
      )}
    </div>
  )
}

export function CompareAnswers({ runs }: { runs: readonly Evaluated[] }) {
  const place = usePlace()
  const base = runs.find((run) => run.id === place.get('base')) ?? runs[0]
  const other = runs.find((run) => run.id === place.get('other') && run !== base) ?? runs.find((run) => run !== base)
  const boards = base && other ? pairs(base.evaluations, other.evaluations) : []
  const pair = boards.find((each) => each.base.id === place.get('board')) ?? boards[0]
  const query = { base: pair?.base.id ?? '', other: pair?.other.id ?? '' }
  const found = useGet('/api/evaluations/compare', { query }, { enabled: pair !== undefined, keep: true })
  if (!base || !other) return null
  const picks = [
    ['base', said.base, base, other],
    ['other', said.other, other, base],
  ] as const
  return (
    <Section
      title={said.items}
      beside={
        <div className="row controls">
          {runs.length > 2 &&
            picks.map(([name, label, value, taken]) => (
              <label key={name} className="inline">
                <span>{label}</span>
                <select value={value.id} onChange={(event) => place.set({ [name]: event.target.value, board: null, item: null })}>
                  {runs
                    .filter((run) => run !== taken)
                    .map((run) => (
                      <option key={run.id} value={run.id}>
                        {shortId(run.id)}
                      </option>
                    ))}
                </select>
              </label>
            ))}
          {boards.length > 1 && pair && (
            <label className="inline">
              <span>{said.board}</span>
              <select value={pair.base.id} onChange={(event) => place.set({ board: event.target.value, item: null })}>
                {boards.map((each) => (
                  <option key={each.base.id} value={each.base.id}>
                    {`${each.base.eval_set} · ${each.base.judge} · ${percent(each.base.score)} → ${percent(each.other.score)}`}
                  </option>
                ))}
              </select>
            </label>
          )}
          {pair && (
            <Link className="small" href={`/evaluations/compare?base=${pair.base.id}&other=${pair.other.id}`}>
              {said.whole_comparison}
            </Link>
          )}
        </div>
      }
    >
      {!pair ? (
        <Reason base={base} other={other} />
      ) : (
        <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()}>
          {found.data && (
            <div className={found.isPlaceholderData ? 'stack stale' : 'stack'}>
              <Verdict of={named(found.data, base.id, other.id)} />
              <Changes
                items={found.data.items}
                leftOut={found.data.items_left_out}
                base={{ id: pair.base.id, name: shortId(base.id) }}
                other={{ id: pair.other.id, name: shortId(other.id) }}
              />
            </div>
          )}
        </Face>
      )}
    </Section>
  )
}
