import { useEffect, useState, type FormEvent } from 'react'
import { Link } from 'wouter'

import { address, type Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { Badge } from '../../parts/Badge'
import { CopyAs } from '../../parts/copy'
import { number, shortId } from '../../parts/format'
import { Page, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import { traces as text } from '../../text'
import { words, type Span } from '../../parts/diff'
import './traces.css'

type Comparison = Schemas['Comparison']
const said = text.compare

/** One side of aligned words: what both have plain, what only this side has marked. */
function Words({ spans, side }: { spans: readonly Span[]; side: 'base' | 'other' }) {
  const own = side === 'base' ? 'delete' : 'insert'
  return (
    <div className="said">
      {spans
        .filter((span) => span.op === 'equal' || span.op === own)
        .map((span, place) =>
          span.op === 'equal' ? (
            <span key={place}>{span.text}</span>
          ) : span.op === 'delete' ? (
            <del key={place}>{span.text}</del>
          ) : (
            <ins key={place}>{span.text}</ins>
          ),
        )}
    </div>
  )
}

function Pair({ base, other }: { base: string; other: string }) {
  const spans = words(base, other)
  return (
    <div className="pair panel">
      <Words spans={spans} side="base" />
      <Words spans={spans} side="other" />
    </div>
  )
}

function Steps({ found, hideSame }: { found: Comparison; hideSame: boolean }) {
  const base = found.base.trace.steps
  const other = found.other.trace.steps
  const whole = (content: string | undefined): Span[] => (content === undefined ? [] : [{ op: 'equal', text: content }])
  return (
    <ol className="stack tight" aria-label={text.steps}>
      {found.steps.map((step, place) => {
        if (hideSame && step.op === 'equal') {
          if (found.steps[place - 1]?.op === 'equal') return null
          const end = found.steps.findIndex((each, at) => at > place && each.op !== 'equal')
          return (
            <li key={place} className="quiet small same-steps">
              {said.hidden((end < 0 ? found.steps.length : end) - place)}
            </li>
          )
        }
        const [mine, theirs] = [step.base === null ? undefined : base[step.base], step.other === null ? undefined : other[step.other]]
        const spans: Span[] | null = step.words ?? null
        return (
          <li key={place} className={`panel step-pair ${step.op}`}>
            <span className="pair-op small">{said.op[step.op]}</span>
            <div className="pair">
              {([['base', mine, step.base], ['other', theirs, step.other]] as const).map(([side, one, at]) => (
                <div key={side} className={one ? 'pair-side' : 'pair-side absent'}>
                  {one ? (
                    <>
                      <p className="quiet small">
                        {at === null ? '' : `${at + 1}. `}
                        {one.type}
                      </p>
                      {step.op === 'delete' || step.op === 'insert' ? (
                        <Words side={side} spans={[{ op: step.op, text: one.content }]} />
                      ) : (
                        <Words side={side} spans={spans ?? whole(one.content)} />
                      )}
                    </>
                  ) : (
                    <p className="quiet small">{said.absent}</p>
                  )}
                </div>
              ))}
            </div>
          </li>
        )
      })}
    </ol>
  )
}

function Result({ found }: { found: Comparison }) {
  const place = usePlace()
  const hide = place.get('same') === 'hidden'
  const count = (op: string) => found.steps.filter((step) => step.op === op).length
  return (
    <div className="stack">
      <div className="pair compare-head">
        {([['base', found.base], ['other', found.other]] as const).map(([name, side]) => (
          <div key={name}>
            <p className="quiet small">{said[name]}</p>
            <p className="row">
              <Link className="mono" href={`/traces/${side.trace.id}`} title={side.trace.id}>
                {shortId(side.trace.id)}
              </Link>
              <span className="quiet small">
                {side.trace.source ?? ''} · {text.stepCount(side.trace.steps.length)} · {said.baseline} {number(side.baseline)}
              </span>
            </p>
          </div>
        ))}
      </div>
      <p className="row">
        <Badge tone={found.same_prompt ? 'good' : 'warn'}>{found.same_prompt ? said.samePrompt : said.otherPrompt}</Badge>
        <Badge tone={found.same_answer ? 'good' : 'warn'}>{found.same_answer ? said.sameAnswer : said.otherAnswer}</Badge>
      </p>
      <p className="row small quiet" aria-label={said.legend}>
        <del>{said.only}</del> <ins>{said.more}</ins>
      </p>
      <Section title={text.prompt}>
        <Pair base={found.base.trace.prompt} other={found.other.trace.prompt} />
      </Section>
      <Section
        title={text.steps}
        beside={
          <span className="row">
            <span className="quiet small">{said.counts(count('equal'), count('replace'), count('delete'), count('insert'))}</span>
            <label className="inline">
              <input type="checkbox" checked={hide} onChange={(event) => place.set({ same: event.target.checked ? 'hidden' : null })} />{' '}
              <span>{said.hideSame}</span>
            </label>
          </span>
        }
      >
        <Steps found={found} hideSame={hide} />
      </Section>
      <Section title={text.answer}>
        <Pair base={found.base.trace.final_answer} other={found.other.trace.final_answer} />
      </Section>
    </div>
  )
}

function Chooser() {
  const place = usePlace()
  const [base, other] = [place.get('base'), place.get('other')]
  const [typed, setTyped] = useState({ base, other })
  useEffect(() => setTyped({ base, other }), [base, other])
  const submit = (event: FormEvent) => {
    event.preventDefault()
    place.set({ base: typed.base.trim(), other: typed.other.trim() }, { push: true })
  }
  return (
    <form className="filters" onSubmit={submit}>
      {([['base', said.baseId], ['other', said.otherId]] as const).map(([name, label]) => (
        <label key={name} className="filter wide-filter">
          <span>{label}</span>
          <input className="mono" value={typed[name]} onChange={(event) => setTyped({ ...typed, [name]: event.target.value })} />
        </label>
      ))}
      <button type="submit" className="primary" disabled={!typed.base.trim() || !typed.other.trim()}>
        {said.go}
      </button>
      <button type="button" className="ghost" disabled={!base || !other} onClick={() => place.set({ base: other, other: base }, { push: true })}>
        {said.swap}
      </button>
    </form>
  )
}

export default function CompareTraces() {
  const place = usePlace()
  const query = { base: place.get('base'), other: place.get('other') }
  const both = query.base !== '' && query.other !== ''
  const found = useGet('/api/traces/compare', { query }, { enabled: both })
  return (
    <Page
      title={said.title}
      above={<Link href="/traces">{text.title}</Link>}
      actions={
        both && (
          <CopyAs command={shell('tunix-rt', 'traces', 'compare', query.base, query.other)} request={{ address: address('/api/traces/compare', { query }) }} />
        )
      }
      bar={<Chooser />}
      loading={both && found.isPending}
      problem={found.error}
      again={() => void found.refetch()}
      empty={
        !both && {
          ...said.empty,
          action: (
            <Link className="button" href="/traces">
              {said.toList}
            </Link>
          ),
        }
      }
    >
      {found.data && <Result found={found.data} />}
    </Page>
  )
}
