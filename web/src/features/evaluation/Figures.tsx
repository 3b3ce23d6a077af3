import { Link } from 'wouter'

import type { Schemas } from '../../api/client'
import { pages } from '../../pages'
import { Badge } from '../../parts/Badge'
import { Id } from '../../parts/copy'
import { percent, shortId } from '../../parts/format'
import { Interval } from '../../parts/Interval'
import { Facts, Section } from '../../parts/Page'
import { Time } from '../../parts/Time'
import { evaluation as text } from '../../text'
import { decoding, range, rule, scale } from './words'

type Detail = Schemas['EvaluationDetail']
type Interval95 = readonly [number, number] | null

const words = text.page
/** As `statistics.ESTABLISHED`. */
const ESTABLISHED = 30

function Score({ of }: { of: Detail }) {
  return (
    <div className="panel score-panel">
      <div>
        <p className={of.established ? 'score-figure' : 'score-figure quiet'}>{percent(of.score)}</p>
        {!of.established && (
          <Badge tone="off" title={text.leaderboard.notEstablishedHint(of.n_scored)}>
            {text.leaderboard.notEstablished}
          </Badge>
        )}
      </div>
      <div className="stack tight grow">
        <Interval value={of.score} low={of.ci?.[0] ?? null} high={of.ci?.[1] ?? null} pale={!of.established} />
        <p className="row small quiet scale-words">
          <span>0 %</span>
          <span className="num">
            {words.facts.interval} {range(of.ci)}, n = {of.n_scored.toLocaleString('en')}
          </span>
          <span>100 %</span>
        </p>
      </div>
    </div>
  )
}

function Overlap({ of }: { of: Detail }) {
  const found = of.contamination
  if (!found) return <p className="quiet">{words.cleanUnknown}</p>
  if (found.n === 0) return <p>{words.cleanNone}</p>
  return (
    <div className="stack">
      <p>
        {words.cleanFound(found.n, percent(found.share), found.method)}{' '}
        <Link href={`/evaluations/${of.id}?tab=items&contaminated=true`}>{words.cleanShow}</Link>
      </p>
      <Shares
        label={words.cleanTable}
        first={words.figure}
        rows={[
          { name: words.wholeScore, value: of.score, ci: of.ci, n: of.n_scored },
          { name: words.cleanScore, value: found.clean.score, ci: found.clean.ci, n: found.clean.n_scored },
        ]}
      />
      {of.waiver !== null && (
        <p>
          <Badge tone="warn">{text.leaderboard.waived}</Badge> <span className="quiet">{words.waiver}</span> <span className="said">{of.waiver}</span>
        </p>
      )}
    </div>
  )
}

interface ShareRow {
  name: string
  title?: string
  value: number | null
  ci: Interval95
  n: number
  gaps?: string
  href?: string
}

/** Shares with their intervals on one axis, as a table. */
function Shares({ label, first, rows, close }: { label: string; first: string; rows: readonly ShareRow[]; close?: boolean }) {
  const [from, to] = scale(rows.map((row) => row.ci))
  return (
    <div className="panel flush scroll-x" role="region" aria-label={label} tabIndex={0}>
      <table className="plain shares">
        <caption className="unseen">{label}</caption>
        <thead>
          <tr>
            <th scope="col">{first}</th>
            <th scope="col" className="right">
              {words.value}
            </th>
            <th scope="col">{text.leaderboard.scale(percent(from, 0), percent(to, 0))}</th>
            {!close && (
              <th scope="col" className="wide">
                {text.leaderboard.inWords}
              </th>
            )}
            <th scope="col" className="right">
              {words.n}
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const pale = row.n < ESTABLISHED
            return (
              <tr key={row.name}>
                <th scope="row" title={row.title}>
                  {row.href ? <Link href={row.href}>{row.name}</Link> : row.name}
                </th>
                <td className="right">
                  <strong className={pale ? 'quiet' : undefined}>{percent(row.value)}</strong>
                </td>
                <td>
                  <span className="row nowrap">
                    <Interval value={row.value} low={row.ci?.[0] ?? null} high={row.ci?.[1] ?? null} from={from} to={to} pale={pale} />
                    {pale && (
                      <Badge tone="off" title={text.leaderboard.notEstablishedHint(row.n)}>
                        {text.leaderboard.notEstablished}
                      </Badge>
                    )}
                  </span>
                </td>
                {!close && <td className="wide num small quiet">{range(row.ci)}</td>}
                <td className="right">
                  {row.n.toLocaleString('en')}
                  {row.gaps && <span className="quiet small"> {row.gaps}</span>}
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

function gaps(of: Schemas['Figures']): string {
  return [of.n_unscored > 0 && text.leaderboard.unscored(of.n_unscored), of.n_missing > 0 && text.leaderboard.missing(of.n_missing)].filter(Boolean).join(', ')
}

function Scorecard({ of }: { of: Detail }) {
  const labels = (['section', 'category', 'difficulty'] as const).filter((label) => (of.scorecard[label] ?? []).length > 0)
  if (labels.length === 0) return <p className="quiet">{words.scorecardNone}</p>
  return (
    <div className="scorecard">
      {labels.map((label) => (
        <Shares
          key={label}
          close
          label={`${words.scorecard}: ${words.by[label]}`}
          first={words.by[label]}
          rows={(of.scorecard[label] ?? []).map((group) => ({
            name: group.value ?? words.noLabel,
            value: group.score,
            ci: group.ci,
            n: group.n_scored,
            gaps: gaps(group),
            ...(group.value === null ? {} : { href: `/evaluations/${of.id}?tab=items&${label}=${encodeURIComponent(group.value)}` }),
          }))}
        />
      ))}
    </div>
  )
}

function Rules({ of }: { of: Detail }) {
  const rules = Object.entries(of.rules).sort((a, b) => b[1] - a[1])
  if (rules.length === 0) return <p className="quiet">{words.rulesNone}</p>
  return (
    <div className="panel flush scroll-x narrow-table" role="region" aria-label={words.rulesTable} tabIndex={0}>
      <table className="plain">
        <caption className="unseen">{words.rulesTable}</caption>
        <thead>
          <tr>
            <th scope="col">{words.rule}</th>
            <th scope="col">{words.meaning}</th>
            <th scope="col" className="right">
              {words.answers}
            </th>
          </tr>
        </thead>
        <tbody>
          {rules.map(([name, count]) => (
            <tr key={name}>
              <th scope="row">
                <code>{name}</code>
              </th>
              <td>{rule(name)}</td>
              <td className="right">{count.toLocaleString('en')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

export function Figures({ of }: { of: Detail }) {
  const has = (path: string) => pages.some((page) => page.path === path)
  const facts = words.facts
  return (
    <>
      <Score of={of} />
      <div className="panel">
        <Facts
          facts={[
            [facts.scored, text.leaderboard.counted(of.n_scored, of.n_items)],
            [facts.correct, of.n_correct.toLocaleString('en')],
            [facts.missing, of.n_missing.toLocaleString('en')],
            [facts.unscored, of.n_unscored.toLocaleString('en')],
            of.n_unknown > 0 && [facts.unknown, of.n_unknown.toLocaleString('en')],
            of.n_repeated > 0 && [facts.repeated, of.n_repeated.toLocaleString('en')],
            [
              facts.evalSet,
              <span key="set" className="row">
                <Link href={`/leaderboard?eval_set=${encodeURIComponent(of.eval_set)}`}>{of.eval_set}</Link>
                <Id id={of.eval_set_digest} label={text.leaderboard.digest} />
              </span>,
            ],
            [facts.judge, words.version(of.judge, of.judge_version)],
            [facts.decoding, decoding(of)],
            [facts.samples, of.samples.toLocaleString('en')],
            [facts.model, of.model_id],
            of.dataset_key !== null && [
              facts.dataset,
              has('/datasets/:key') ? (
                <Link key="dataset" href={`/datasets/${encodeURIComponent(of.dataset_key)}`}>
                  {of.dataset_key}
                </Link>
              ) : (
                of.dataset_key
              ),
            ],
            of.run_id !== null && [
              facts.run,
              <Link key="run" className="mono" href={`/runs/${of.run_id}`}>
                {shortId(of.run_id)}
              </Link>,
            ],
            [facts.made, <Time key="made" at={of.created_at} />],
          ]}
        />
      </div>
      {of.sampled && (
        <Section title={words.sampled}>
          <Shares
            label={words.sampledLabel}
            first={words.figure}
            rows={[
              ...Object.entries(of.sampled.pass_at).map(([k, share]) => ({ name: words.pass(Number(k)), title: words.passHint, ...share })),
              { name: words.majority, title: words.majorityHint, ...of.sampled.majority },
            ]}
          />
        </Section>
      )}
      <Section title={words.scorecard}>
        <Scorecard of={of} />
      </Section>
      <Section title={words.clean}>
        <Overlap of={of} />
      </Section>
      <Section title={words.rules}>
        <Rules of={of} />
      </Section>
    </>
  )
}
