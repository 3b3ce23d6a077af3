/** Small things that several screens of the registry show. */
import { Link } from 'wouter'

import { Badge } from '../../parts/Badge'
import { bytes, percent, shortId } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Interval } from '../../parts/Interval'
import { models as text } from '../../text'
import { exact, zipOf, type Figure, type Version } from './words'

/** The score of a figure with what it leads to; paler where too few items were scored to believe it. */
export function Score({ of, n = true }: { of: Figure | undefined; n?: boolean }) {
  if (!of) return <span className="quiet">{text.notEvaluated}</span>
  return (
    <span className="row nowrap figure" title={of.eval_set}>
      <Link href={`/evaluations/${of.evaluation_id}`} className={of.established ? 'num score' : 'num score quiet'}>
        {percent(of.score)}
      </Link>
      {n && <span className="quiet small num">{`n ${of.n_scored.toLocaleString('en')}`}</span>}
      {!of.established && (
        <Badge tone="off" title={text.notEstablishedHint(of.n_scored)}>
          {text.notEstablished}
        </Badge>
      )}
    </span>
  )
}

export function Range({ of }: { of: Figure | undefined }) {
  if (!of) return null
  return <Interval value={of.score} low={of.ci?.[0] ?? null} high={of.ci?.[1] ?? null} pale={!of.established} />
}

export function Aliases({ of }: { of: readonly string[] }) {
  if (of.length === 0) return <span className="quiet">–</span>
  return (
    <span className="row nowrap aliases">
      {of.map((alias) => (
        <span key={alias} className="alias">
          {alias}
        </span>
      ))}
    </span>
  )
}

export function RunLink({ id }: { id: string }) {
  return (
    <Link className="mono" href={`/runs/${id}`}>
      {shortId(id)}
    </Link>
  )
}

export function DatasetLink({ name }: { name: string }) {
  return <Link href={`/datasets/${encodeURIComponent(name)}`}>{name}</Link>
}

/** What a training started from: a version of the registry leads to its model. */
export function Base({ of }: { of: string }) {
  const [name, version] = of.split(':')
  if (!name || !version) return of
  return <Link href={`/models/${encodeURIComponent(name)}?tab=version&version=${encodeURIComponent(version)}`}>{of}</Link>
}

export function Zip({ of, short }: { of: Version; short?: boolean }) {
  const words = text.downloadOf(exact(of), bytes(of.size))
  return (
    <a className={short ? 'button ghost square' : 'button primary'} href={zipOf(of)} download title={words} aria-label={words}>
      <Icon name="download" size={16} /> {!short && text.download}
    </a>
  )
}
