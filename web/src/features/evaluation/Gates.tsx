import { useQuery } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'
import { Link } from 'wouter'

import { send, type Problem, type Schemas } from '../../api/client'
import { useList } from '../../api/list'
import { Badge, type Tone } from '../../parts/Badge'
import { CopyAs } from '../../parts/copy'
import { Icon } from '../../parts/Icon'
import { Face, Facts, Page, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import { Table, type Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { evaluation as text } from '../../text'
import { Changes, Counts } from './Changes'
import { Difference } from './Difference'
import './evaluation.css'
import { amount, change, fromTyped } from './metric'
import { Pick, useChoices } from './Pick'
import { SetBaseline } from './SetBaseline'
import { probability, type Evaluation } from './words'

type Baseline = Schemas['BaselineView']
type Check = Schemas['CheckView']

const words = text.gates
const TONES: Record<Check['verdict'], Tone> = { pass: 'good', fail: 'bad', inconclusive: 'wait' }

/** The same request gives the same answer, so that a check is a page like any other. */
function useCheck(body: Schemas['CheckRequest'], enabled: boolean) {
  return useQuery<Check, Problem>({
    queryKey: ['/api/regression/check', JSON.stringify(body)],
    queryFn: ({ signal }) => send('post', '/api/regression/check', { body, signal }),
    enabled,
  })
}

function Verdict({ of }: { of: Check }) {
  const { metric, margin } = of
  const limit = of.direction === 'higher' ? -margin : margin
  const difference = (value: number) => change(value, metric)
  return (
    <div className="panel stack" aria-live="polite">
      <div className="row verdict">
        <Badge tone={TONES[of.verdict]}>{words.verdict[of.verdict]}</Badge>
        <span className="quiet small">{words.exit[of.verdict]}</span>
        {!of.established && <Badge tone="off">{text.leaderboard.notEstablished}</Badge>}
      </div>
      <p className="said">{of.reason}</p>
      <Difference
        value={of.difference}
        interval={{ name: text.compare.bootstrap, ci: of.ci }}
        limit={limit}
        limitName={words.limit(difference(limit))}
        zeroName={text.compare.zero}
        show={difference}
        none={text.none}
      />
      <Counts fixed={of.fixed} broken={of.broken} unchanged={of.unchanged} />
      <Facts
        facts={[
          [
            `${words.baseMean}, ${words.metrics[metric]}`,
            <span key="base">
              {amount(of.base_mean, metric)} · <Link href={`/evaluations/${of.base.id}`}>{of.base.name}</Link>
            </span>,
          ],
          [
            `${words.otherMean}, ${words.metrics[metric]}`,
            <span key="other">
              {amount(of.other_mean, metric)} · <Link href={`/evaluations/${of.evaluation.id}`}>{of.evaluation.name}</Link>
            </span>,
          ],
          [text.compare.difference, of.difference === null ? null : difference(of.difference)],
          [words.margin, change(margin, metric).slice(1)],
          [text.compare.p, probability(of.p_value)],
          [text.compare.test, of.test],
          [text.compare.n, of.n.toLocaleString('en')],
          of.n_left_out > 0 && [words.leftOut, of.n_left_out.toLocaleString('en')],
        ]}
      />
      {of.notes.length > 0 && (
        <div>
          <h3>{words.notes}</h3>
          <ul className="notes">
            {of.notes.map((note) => (
              <li key={note} className="said">
                {note}
              </li>
            ))}
          </ul>
        </div>
      )}
    </div>
  )
}

function CheckPart({ baselines, evaluations, choices }: { baselines: readonly Baseline[]; evaluations: readonly Evaluation[]; choices: (id: string) => Evaluation | undefined }) {
  const place = usePlace()
  const [name, evaluation, typed] = [place.get('baseline'), place.get('evaluation'), place.get('margin')]
  const baseline = baselines.find((each) => each.name === name)
  const margin = typed === '' ? null : fromTyped(typed, baseline?.metric ?? 'score')
  const both = name !== '' && evaluation !== ''
  const body: Schemas['CheckRequest'] = { baseline: name, evaluation_id: evaluation, margin, seed: 0 }
  const found = useCheck(body, both)
  const beside = baseline && choices(baseline.evaluation_id)
  return (
    <Section
      id="check"
      title={words.checkTitle}
      beside={
        both && (
          <CopyAs
            command={shell('tunix-rt', 'gate', '--baseline', name, '--evaluation', evaluation, ...(margin === null ? [] : ['--margin', String(margin)]))}
            request={{ method: 'POST', address: '/api/regression/check', body }}
          />
        )
      }
    >
      <div className="filters picks">
        <label className="filter pick">
          <span>{words.baseline}</span>
          <select value={name} onChange={(event) => place.set({ baseline: event.target.value, item: null })}>
            <option value="">{words.choose}</option>
            {name !== '' && !baseline && <option value={name}>{name}</option>}
            {baselines.map((each) => (
              <option key={each.id} value={each.name}>
                {each.name}
              </option>
            ))}
          </select>
        </label>
        <Pick
          label={words.evaluation}
          value={choices(evaluation)?.id ?? evaluation}
          rows={evaluations}
          beside={beside}
          choose={(id) => place.set({ evaluation: id, item: null })}
        />
        <label className="filter">
          <span>
            {words.margin}, {words.units[baseline?.metric ?? 'score']}
          </span>
          <input
            type="number"
            min="0"
            step="any"
            value={typed}
            placeholder={baseline ? String(baseline.metric === 'score' ? Number((baseline.margin * 100).toPrecision(6)) : baseline.margin) : ''}
            onChange={(event) => place.set({ margin: event.target.value })}
          />
        </label>
      </div>
      <Face loading={both && found.isPending} problem={both && found.error} again={() => void found.refetch()} empty={!both && words.pick}>
        {found.data && (
          <>
            <Verdict of={found.data} />
            {found.data.metric === 'score' && (
              <Changes items={found.data.items} leftOut={found.data.items_left_out} base={found.data.base} other={found.data.evaluation} />
            )}
          </>
        )}
      </Face>
    </Section>
  )
}

function columnsOf(check: (name: string) => void): Column<Baseline>[] {
  return [
    { id: 'name', name: words.name, cell: (row) => <strong>{row.name}</strong> },
    { id: 'evaluation', name: words.evaluation, cell: (row) => <Link href={`/evaluations/${row.evaluation_id}`}>{row.evaluation}</Link> },
    { id: 'metric', name: words.metric, wide: true, cell: (row) => words.metrics[row.metric] },
    { id: 'direction', name: words.direction, wide: true, cell: (row) => words.directions[row.direction] },
    { id: 'margin', name: words.margin, right: true, wide: true, cell: (row) => change(row.margin, row.metric).slice(1) },
    { id: 'evalSet', name: words.evalSet, wide: true, cell: (row) => row.eval_set },
    { id: 'judge', name: words.judge, wide: true, cell: (row) => row.judge },
    { id: 'made', name: words.made, right: true, wide: true, cell: (row) => <Time at={row.created_at} /> },
    {
      id: 'check',
      name: words.check,
      right: true,
      cell: (row) => (
        <button type="button" className="slim" onClick={() => check(row.name)}>
          {words.check}
          <span className="unseen"> {row.name}</span>
        </button>
      ),
    },
  ]
}

export default function Gates() {
  const place = usePlace()
  const found = useList('/api/regression/baselines', { limit: 200 })
  const [evaluation, setting] = [place.get('evaluation'), place.get('set')]
  const held = found.rows.find((row) => row.name === place.get('baseline'))?.evaluation_id ?? ''
  const choices = useChoices(held, evaluation, setting === 'new' ? '' : setting)
  const set = (
    <button type="button" className="primary" onClick={() => place.set({ set: 'new' }, { push: true })}>
      <Icon name="plus" size={16} /> {words.set}
    </button>
  )
  const first = useRef<HTMLDivElement>(null)
  const checked = place.get('baseline')
  const former = useRef(checked)
  useEffect(() => {
    // Chosen from the list: the reader goes on below it.
    if (checked && checked !== former.current) first.current?.querySelector<HTMLElement>('#check select')?.focus()
    former.current = checked
  }, [checked])
  const columns = columnsOf((name) => place.set({ baseline: name, item: null }, { push: true }))
  return (
    <Page
      title={words.title}
      actions={
        <>
          <CopyAs command="tunix-rt baselines list" request={{ address: '/api/regression/baselines' }} />
          {set}
        </>
      }
      bar={<p className="quiet">{words.intro}</p>}
      loading={found.isLoading}
      problem={found.problem}
      again={found.again}
      empty={found.rows.length === 0 && !found.isLoading && setting === '' && { ...words.none, action: set }}
    >
      {found.rows.length > 0 && (
        <div ref={first} className="stack">
          <Section title={words.baselines}>
            <Table label={words.list} columns={columns} rows={found.rows} keyOf={(row) => row.id} hasMore={found.hasMore} more={found.more} isFetchingMore={found.isFetchingMore} height={360} />
          </Section>
          <CheckPart baselines={found.rows} evaluations={choices.rows} choices={choices.of} />
        </div>
      )}
      {setting !== '' && (
        <SetBaseline evaluation={setting === 'new' ? undefined : choices.of(setting)} evaluations={choices.rows} close={() => place.set({ set: null })} />
      )}
    </Page>
  )
}

