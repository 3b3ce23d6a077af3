import { Badge } from '../../parts/Badge'
import { bytes, duration, number } from '../../parts/format'
import { Facts } from '../../parts/Page'
import { ProblemBox } from '../../parts/Problem'
import { Problem } from '../../api/client'
import { runs as text } from '../../text'

/** The facts of a dry run (`training.check`); each check has `ok`, and `problem` where it fails. */
export interface Check {
  ok: boolean | null
  problem?: { code: string; detail: string; hint?: string | null; faults?: { pointer: string; detail: string }[] }
  [fact: string]: unknown
}

export interface PlanFacts {
  steps: number
  epochs: number
  rows: number
  evaluation_rows: number
  width: number
  parameters: number
  tokens: number
  memory_bytes: Record<string, number>
  peak_bytes: number
  available_bytes: number | null
  memory_method: string
  seconds: number | null
  disk_bytes: number
  device: string
}

export const isPlan = (facts: unknown): facts is PlanFacts =>
  typeof facts === 'object' && facts !== null && 'memory_bytes' in facts && 'peak_bytes' in facts

/** What a step needs at its peak, by term, against what the device has free. */
export function MemoryBar({ plan }: { plan: PlanFacts }) {
  const { peak_bytes: peak, available_bytes: free } = plan
  const whole = Math.max(peak, free ?? 0, 1)
  const fits = free === null || peak <= free
  const terms = Object.entries(plan.memory_bytes).filter(([, size]) => size > 0)
  return (
    <figure className="memory">
      <figcaption className="row">
        <span>{text.plan.memory}</span>
        <strong className="num">{free === null ? text.plan.alone(bytes(peak)) : text.plan.of(bytes(peak), bytes(free))}</strong>
        {free !== null && <Badge tone={fits ? 'good' : 'bad'}>{fits ? text.plan.fits : text.plan.tooMuch}</Badge>}
      </figcaption>
      <div className="memory-bar" aria-hidden="true">
        {terms.map(([name, size], place) => (
          <span key={name} className={`term term-${place}`} style={{ width: `${(size / whole) * 100}%` }} />
        ))}
        {free !== null && <span className="limit" style={{ left: `${(free / whole) * 100}%` }} />}
      </div>
      <ul className="memory-terms">
        {terms.map(([name, size], place) => (
          <li key={name}>
            <span className={`swatch term-${place}`} aria-hidden="true" /> {text.plan.terms[name] ?? name} <span className="num quiet">{bytes(size)}</span>
          </li>
        ))}
      </ul>
    </figure>
  )
}

export function PlanView({ plan }: { plan: PlanFacts }) {
  return (
    <div className="stack">
      <MemoryBar plan={plan} />
      <Facts
        facts={[
          [text.plan.time, plan.seconds === null ? '–' : duration(plan.seconds)],
          [text.plan.steps, number(plan.steps)],
          [text.plan.epochs, number(plan.epochs)],
          [text.plan.rows, number(plan.rows)],
          [text.plan.evalRows, number(plan.evaluation_rows)],
          [text.plan.tokens, number(plan.tokens)],
          [text.plan.width, number(plan.width)],
          [text.plan.parameters, number(plan.parameters)],
          [text.plan.disk, bytes(plan.disk_bytes)],
          [text.plan.device, plan.device],
          [text.plan.method, plan.memory_method],
        ]}
      />
    </div>
  )
}

interface Ledger {
  rows?: { total: number; trained: number; truncated: number }
  tokens?: Record<string, number>
}

function LedgerView({ facts }: { facts: Check }) {
  const splits = Object.entries(facts).filter(([name, value]) => name !== 'ok' && name !== 'problem' && value !== null && typeof value === 'object') as [string, Ledger][]
  const kinds = [...new Set(splits.flatMap(([, ledger]) => Object.keys(ledger.tokens ?? {})))].filter((kind) => kind !== 'total')
  if (splits.length === 0) return null
  return (
    <div className="scroll-x">
      <table className="plain narrow-table">
        <thead>
          <tr>
            <th scope="col" />
            <th scope="col" className="right">{text.plan.rows}</th>
            {kinds.map((kind) => (
              <th key={kind} scope="col" className="right">
                {kind}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {splits.map(([name, ledger]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td className="right">{number(ledger.rows?.trained)}</td>
              {kinds.map((kind) => (
                <td key={kind} className="right">
                  {number(ledger.tokens?.[kind])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** Every check of a dry run; what fails says why. */
export function Checks({ checks }: { checks: Record<string, unknown> }) {
  const found = Object.entries(checks).filter((entry): entry is [string, Check] => typeof entry[1] === 'object' && entry[1] !== null)
  const plan = checks['plan']
  return (
    <div className="stack">
      <ul className="checks">
        {found.map(([name, check]) => (
          <li key={name}>
            <Badge tone={check.ok === null ? 'off' : check.ok ? 'good' : 'bad'}>
              {text.checks.names[name] ?? name}: {check.ok === null ? text.checks.skipped : check.ok ? text.checks.ok : text.checks.failed}
            </Badge>
          </li>
        ))}
      </ul>
      {found.map(
        ([name, { problem }]) =>
          problem && (
            <ProblemBox
              key={name}
              problem={
                new Problem({
                  status: 422,
                  title: text.checks.names[name] ?? name,
                  detail: problem.detail,
                  hint: problem.hint ?? null,
                  errors: problem.faults ?? [],
                })
              }
            />
          ),
      )}
      {isPlan(plan) && <PlanView plan={plan} />}
      {typeof checks['ledger'] === 'object' && checks['ledger'] !== null && <LedgerView facts={checks['ledger'] as Check} />}
    </div>
  )
}
