import { useState } from 'react'
import { Link, useLocation, useParams } from 'wouter'

import { address, send, type Schemas } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { CopyAs, Id, copy } from '../../parts/copy'
import { Confirm } from '../../parts/Dialog'
import { number, shortId } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { say, sayProblem } from '../../parts/notices'
import { Facts, Page, Section } from '../../parts/Page'
import { ProblemBox } from '../../parts/Problem'
import { shell } from '../../parts/request'
import { Skeleton } from '../../parts/Skeleton'
import { Tabs } from '../../parts/Tabs'
import { Time } from '../../parts/Time'
import { common, traces as text } from '../../text'
import { Checked, Verdict } from './Checked'
import { SetSource } from './SetSource'
import { NO_SOURCE, ofSource } from './sources'
import './traces.css'

type Trace = Schemas['TraceOut']
type Calculations = Schemas['TraceCalculations']

function Meta({ meta }: { meta: Record<string, unknown> }) {
  return <pre className="meta">{JSON.stringify(meta, null, 2)}</pre>
}

function Steps({ trace, checked }: { trace: Trace; checked?: Calculations | undefined }) {
  return (
    <ol className="steps" aria-label={text.steps}>
      {trace.steps.map((step, place) => (
        <li key={step.i} className="step">
          <div className="step-head">
            <span className="step-number" title={`i = ${step.i}`}>
              <span className="unseen">{text.step(place + 1)}</span>
              <span aria-hidden="true">{place + 1}</span>
            </span>
            <span className="step-type">{step.type}</span>
          </div>
          <div className="step-body">
            <Checked plain={step.content} checked={checked?.steps[place]} />
            {step.meta && Object.keys(step.meta).length > 0 && (
              <details>
                <summary className="small">{text.meta}</summary>
                <Meta meta={step.meta} />
              </details>
            )}
          </div>
        </li>
      ))}
    </ol>
  )
}

function Scores({ trace }: { trace: Trace }) {
  const act = useAct(
    () => send('post', '/api/traces/{id}/score', { at: { id: trace.id }, body: { criteria: 'baseline' } }),
    ['/api/traces/{id}'],
    () => say(text.scored),
  )
  return (
    <Section
      title={text.scores}
      beside={
        <button type="button" className="ghost" disabled={act.isPending} onClick={() => act.mutate(undefined, { onError: sayProblem })}>
          {text.score}
        </button>
      }
    >
      {trace.scores.length === 0 ? (
        <p className="quiet">{text.noScores}</p>
      ) : (
        trace.scores.map((score) => (
          <div key={score.criteria} className="score">
            <p className="row">
              <strong>{score.criteria}</strong>
              <span className="num score-value">{number(score.score)}</span>
              <span className="quiet small">
                <Time at={score.created_at} />
              </span>
            </p>
            <p className="quiet small">{text.scoreOf[score.criteria]}</p>
            <Facts
              facts={Object.entries(score.details)
                .filter(([name]) => name !== 'criteria')
                .map(([name, value]) => [name.replaceAll('_', ' '), typeof value === 'number' ? number(value) : String(value)] as const)}
            />
          </div>
        ))
      )}
    </Section>
  )
}

function Raw({ trace }: { trace: Trace }) {
  const words = JSON.stringify(trace, null, 2)
  return (
    <div className="panel raw">
      <button type="button" className="ghost" onClick={() => void copy(words)}>
        <Icon name="copy" size={16} /> {common.copy}
      </button>
      <pre>{words}</pre>
    </div>
  )
}

function Delete({ trace, close }: { trace: Trace; close: () => void }) {
  const [, go] = useLocation()
  const act = useAct(
    () => send('delete', '/api/traces/{id}', { at: { id: trace.id } }),
    ['/api/traces'],
    () => {
      say(text.deleted)
      close()
      go('/traces', { replace: true })
    },
  )
  return (
    <Confirm
      title={text.deleteTitle}
      action={text.delete}
      danger
      busy={act.isPending}
      problem={act.error && <ProblemBox problem={act.error} />}
      act={() => act.mutate(undefined)}
      close={close}
    >
      <p>{text.deleteDetail}</p>
    </Confirm>
  )
}

function Whole({ trace }: { trace: Trace }) {
  const found = useGet('/api/traces/{id}/calculations', { at: { id: trace.id } })
  const checked = found.data
  const [setting, setSetting] = useState(false)
  return (
    <div className="trace-columns">
      {setting && <SetSource ids={[trace.id]} close={() => setSetting(false)} />}
      <div className="stack">
        <div className="row">
          {checked && <Verdict right={checked.right} wrong={checked.wrong} />}
          {checked && checked.wrong > 0 && (
            <button
              type="button"
              className="ghost"
              onClick={() => document.querySelector('[data-wrong]')?.scrollIntoView({ block: 'center' })}
            >
              {text.calculations.firstWrong}
            </button>
          )}
        </div>
        {found.error && <ProblemBox problem={found.error} again={() => void found.refetch()} />}
        <Section title={text.prompt}>
          <div className="panel said trace-prompt">{trace.prompt}</div>
        </Section>
        <Section title={text.steps} beside={<span className="quiet small">{text.stepCount(trace.steps.length)}</span>}>
          <Steps trace={trace} checked={checked} />
        </Section>
        <Section title={text.answer}>
          <div className="panel trace-final">
            <Checked plain={trace.final_answer} checked={checked?.final_answer} />
          </div>
        </Section>
      </div>
      <div className="stack">
        <Section title={text.about}>
          <Facts
            facts={[
              [
                text.facts.source,
                <span key="source" className="row">
                  <Link href={ofSource('/traces', trace.source ?? NO_SOURCE)}>{trace.source ?? text.noSource}</Link>
                  <button type="button" className="ghost set-source" onClick={() => setSetting(true)}>
                    {text.setSource.open}
                  </button>
                </span>,
              ],
              [text.facts.added, <Time key="added" at={trace.created_at} />],
              [text.facts.steps, number(trace.steps.length)],
              [text.facts.characters, number(trace.steps.reduce((sum, step) => sum + step.content.length, 0))],
              [text.facts.version, trace.trace_version],
              [text.facts.digest, <Id key="digest" id={trace.digest} label={text.facts.digest} />],
            ]}
          />
        </Section>
        <Scores trace={trace} />
        <Section title={text.metaTitle}>
          {Object.keys(trace.meta).length === 0 ? <p className="quiet">{text.noMeta}</p> : <Meta meta={trace.meta} />}
        </Section>
      </div>
    </div>
  )
}

export default function TracePage() {
  const { id = '' } = useParams<{ id: string }>()
  const found = useGet('/api/traces/{id}', { at: { id } })
  const [deleting, setDeleting] = useState(false)
  const trace = found.data
  return (
    <Page
      title={text.trace(shortId(id))}
      above={<Link href="/traces">{text.title}</Link>}
      beside={trace && <Id id={trace.id} label={text.columns.trace} />}
      actions={
        trace && (
          <>
            <Link className="button ghost" href={`/traces/compare?base=${trace.id}`}>
              <Icon name="compare" size={16} /> {text.compareWith}
            </Link>
            <CopyAs command={shell('tunix-rt', 'traces', 'show', trace.id)} request={{ address: address('/api/traces/{id}', { at: { id: trace.id } }) }} />
            <button type="button" className="ghost" onClick={() => setDeleting(true)}>
              {text.delete}
            </button>
          </>
        )
      }
      loading={found.isPending}
      problem={found.error}
      again={() => void found.refetch()}
      skeleton={<Skeleton lines={10} />}
    >
      {trace && (
        <Tabs
          label={text.tabs.label}
          tabs={[
            { id: 'steps', name: text.tabs.steps, content: () => <Whole trace={trace} /> },
            { id: 'raw', name: text.tabs.raw, content: () => <Raw trace={trace} /> },
          ]}
        />
      )}
      {trace && deleting && <Delete trace={trace} close={() => setDeleting(false)} />}
    </Page>
  )
}
